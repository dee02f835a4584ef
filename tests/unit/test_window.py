"""The steady state lies between the ramp-up and the drain, and says what is its own."""

from __future__ import annotations

import pytest
from drawn_samples import RUNS
from hypothesis import given

from pytest_msprof import Sample, Samples
from pytest_msprof.window import steady_state


def request(start: float, lasts: float, **values) -> Sample:
    return Sample(
        due=start,
        start=start,
        ttft=lasts / 2,
        latency=lasts,
        closed=lasts,
        output_tokens=2,
        gaps=(lasts / 2,),
        **values,
    )


def test_a_closed_loop_is_steady_until_its_last_requests_are_sent():
    samples = Samples.of([request(0, 1), request(0, 2), request(1, 2), request(2, 2), request(3, 5)])
    found = steady_state(samples, {})
    assert (found.start, found.end, found.running, found.requests) == (0.0, 4.0, 2, 4)
    assert found.metrics == pytest.approx({"success_rate": 1.0, "request_throughput": 1.0, "output_throughput": 2.0})
    assert found.distributions["latency"].max == 2.0


def test_an_open_loop_is_steady_from_when_its_plateau_is_reached():
    samples = Samples.of([request(10 + second, 3.75) for second in range(20)])
    found = steady_state(samples, {"latency": 4.0})
    assert (found.start, found.end, found.running) == (3.0, 19.75, 4)
    assert found.requests == 14
    assert found.metrics["goodput"] == found.metrics["request_throughput"]


def test_failures_count_where_they_ended_and_lie_in_no_distribution():
    samples = Samples.of([request(0, 1), request(1, 1, error="cut"), request(2, 1), request(3, 1)])
    found = steady_state(samples, {})
    assert found.metrics["success_rate"] == 0.75
    assert found.distributions["latency"].n == 3


@pytest.mark.parametrize("requests", [[], [request(0, 1, error="cut")]])
def test_without_a_success_inside_there_is_no_steady_state(requests):
    assert steady_state(Samples.of(requests), {}) is None


@given(RUNS)
def test_the_window_lies_inside_the_run(samples):
    found = steady_state(samples, {"ttft": 1.0})
    if found is not None:
        assert 0 <= found.start < found.end
        assert 0 < found.requests <= samples.ok.sum()
        assert found.metrics["goodput"] <= found.metrics["request_throughput"]
