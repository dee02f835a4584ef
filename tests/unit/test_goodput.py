"""A good request succeeded and kept every limit, counted from when it was due."""

from __future__ import annotations

import math

import pytest
from drawn_samples import RUNS
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof import Measurement, Sample, Samples, Workload, measure
from pytest_msprof.errors import InvalidWorkload, UnknownName
from pytest_msprof.figures import with_figures
from pytest_msprof.goodput import good_requests

FAST = Sample(due=0.0, start=0.0, ttft=0.1, latency=0.3, closed=0.3, output_tokens=3, gaps=(0.1, 0.1))
LATE = Sample(due=0.0, start=0.3, ttft=0.1, latency=0.3, closed=0.3, output_tokens=3, gaps=(0.1, 0.1))
UNEVEN = Sample(due=0.0, start=0.0, ttft=0.1, latency=0.3, closed=0.3, output_tokens=3, gaps=(0.01, 0.19))
SHORT = Sample(due=0.0, start=0.0, ttft=0.1, latency=0.1, closed=0.1, output_tokens=1)
FAILED = Sample(due=0.0, start=0.0, ttft=0.1, latency=0.2, output_tokens=2, gaps=(0.1,), error="truncated")
REQUESTS = Samples.of([FAST, LATE, UNEVEN, SHORT, FAILED])


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        ({}, [1, 1, 1, 1, 0]),
        ({"ttft": 0.2}, [1, 0, 1, 1, 0]),
        ({"latency": 0.29}, [0, 0, 0, 1, 0]),
        ({"queue": 0.1}, [1, 0, 1, 1, 0]),
        ({"tpot": 0.1001}, [1, 1, 1, 1, 0]),
        ({"tpot": 0.09}, [0, 0, 0, 1, 0]),
        ({"itl": 0.15}, [1, 1, 0, 1, 0]),
        ({"ttft": 0.2, "itl": 0.15}, [1, 0, 0, 1, 0]),
    ],
)
def test_a_good_request_keeps_every_limit(limits, good):
    assert good_requests(REQUESTS, limits).tolist() == [bool(one) for one in good]


def is_good(sample: Sample, limits: dict[str, float]) -> bool:
    """Judge one request the slow way."""
    wait = sample.start - sample.due
    tokens = sample.output_tokens - sample.first_tokens
    found = {
        "ttft": sample.ttft + wait,
        "latency": sample.latency + wait,
        "tpot": (sample.latency - sample.ttft) / tokens if tokens > 0 else -math.inf,
        "itl": max(sample.gaps, default=-math.inf),
    }
    return not sample.error and all(found[name] <= limit for name, limit in limits.items())


@given(RUNS, st.dictionaries(st.sampled_from(["ttft", "latency", "tpot", "itl"]), st.floats(0.001, 10)))
def test_all_requests_at_once_are_judged_as_one_at_a_time(samples, limits):
    assert good_requests(samples, limits).tolist() == [is_good(sample, limits) for sample in samples]


def test_goodput_is_good_requests_over_the_duration():
    measured = with_figures(measure(REQUESTS, 2.0), Workload(goodput={"ttft": 0.2}))
    assert measured.metrics["goodput"] == 1.5
    assert "goodput" not in with_figures(measure(REQUESTS, 2.0), Workload()).metrics


def test_a_load_generator_without_requests_has_no_goodput():
    measured = Measurement(duration=1.0, completed=3, failed=0)
    assert with_figures(measured, Workload(goodput={"ttft": 0.2})) is measured


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"tfft": 0.5}, UnknownName, "did you mean 'ttft'"),
        ({"ttft.p99": 0.5}, UnknownName, "unknown metric of a request 'ttft.p99'"),
        ({"output_throughput": 5.0}, UnknownName, "unknown metric of a request"),
        ({"ttft": 0.0}, InvalidWorkload, "'goodput.ttft': input should be greater than 0"),
    ],
)
def test_a_limit_that_no_request_can_be_held_to_is_refused(limits, error, message):
    with pytest.raises(error, match=message):
        Workload(goodput=limits)
