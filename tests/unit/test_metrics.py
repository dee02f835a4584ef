"""The metrics of a run follow from its requests as their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_msprof import PerformanceIndex, Sample, Samples, from_index, measure
from pytest_msprof.errors import MetricMissing, UnknownName
from pytest_msprof.metrics import METRICS, metric, summarize

ONE = Sample(
    due=0.0, start=0.0, ttft=0.1, latency=0.5, closed=0.6, input_tokens=3, output_tokens=5, gaps=(0.1, 0.1, 0.1, 0.1)
)
TWO = Sample(due=0.5, start=0.7, ttft=0.2, latency=0.4, closed=0.4, output_tokens=9, first_tokens=5, gaps=(0.2,))
FAILED = Sample(due=0.0, start=0.0, ttft=0.3, error="timeout", gaps=(9.0,), output_tokens=100)


def test_times_are_those_of_the_definitions():
    found = measure(Samples.of([ONE, TWO]), 2.0).distributions

    assert found["ttft"].mean == pytest.approx(0.15)
    assert found["tpot"].root == pytest.approx(
        {"n": 2, "mean": 0.075, "min": 0.05, "max": 0.1, "std": np.std([0.05, 0.1], ddof=1), "p50": 0.075}
    )
    assert found["itl"].n == 5
    assert found["latency"].max == 0.5
    assert found["closed"].max == 0.6
    assert found["queue"].root == pytest.approx(summarize(np.array([0.0, 0.2])).root)
    assert found["ttft_due"].max == pytest.approx(0.4)
    assert found["latency_due"].max == pytest.approx(0.6)


def test_rates_count_successful_requests_over_the_whole_duration():
    found = measure(Samples.of([ONE, TWO, FAILED]), 2.0)

    assert found.metrics == pytest.approx({"success_rate": 2 / 3, "request_throughput": 1.0, "output_throughput": 7.0})
    assert (found.completed, found.failed, found.errors) == (2, 1, {"timeout": 1})


def test_a_failed_request_is_in_no_distribution():
    found = measure(Samples.of([ONE, FAILED]), 2.0).distributions

    assert found["ttft"].max == 0.1
    assert found["itl"].max == pytest.approx(0.1)


def test_a_closed_loop_has_no_queue():
    assert not {"queue", "ttft_due"} & measure(Samples.of([ONE]), 1.0).distributions.keys()


def test_an_answer_in_one_chunk_has_no_time_per_token():
    found = measure(Samples.of([Sample(due=0.0, start=0.0, ttft=0.1, latency=0.1, output_tokens=8, first_tokens=8)]), 1)

    assert "tpot" not in found.distributions
    assert "itl" not in found.distributions
    assert found.metrics["output_throughput"] == 8


def test_tokens_that_nobody_counted_are_no_throughput():
    found = measure(Samples.of([Sample(due=0.0, start=0.0, ttft=0.1, latency=0.3)]), 1.0)

    assert "output_throughput" not in found.metrics
    assert "tpot" not in found.distributions
    assert found.metrics["request_throughput"] == 1.0


@pytest.mark.parametrize("requests", [[], [FAILED]])
def test_without_a_success_there_are_no_rates(requests):
    found = measure(Samples.of(requests), 1.0)

    assert not {"request_throughput", "output_throughput"} & found.metrics.keys()
    assert found.distributions == {}


@pytest.mark.parametrize(
    ("count", "highest"), [(1, "p50"), (9, "p50"), (10, "p90"), (20, "p95"), (100, "p99"), (1000, "p99.9")]
)
def test_a_percentile_needs_a_value_beyond_it(count, highest):
    found = [name for name in summarize(np.arange(float(count))).root if name.startswith("p")]

    assert found[-1] == highest


def test_the_seeds_index_becomes_means_and_nothing_else():
    index = PerformanceIndex(generate_speed=100.0, time_to_first_token=0.2, success_rate=0.75)

    found = from_index(index, duration=4.0, sent=8)

    assert (found.completed, found.failed) == (6, 2)
    assert found.metrics == {"output_throughput": 100.0, "success_rate": 0.75}
    assert {name: values.root for name, values in found.distributions.items()} == {"ttft": {"mean": 0.2}}
    assert found.samples is None
    assert found.notes


def test_a_metric_is_known_by_its_name_and_statistic():
    assert (metric("ttft.p50").better, metric("ttft.p50").unit) == ("lower", "s")
    assert (metric("output_throughput").better, metric("output_throughput").unit) == ("higher", "token/s")
    assert all(entry.name == name and entry.meaning for name, entry in METRICS.items())


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("tfft.p50", UnknownName, "did you mean 'ttft'"),
        ("ttft.p51", UnknownName, "unknown statistic of ttft 'p51'"),
        ("ttft", MetricMissing, "name a statistic, such as 'ttft.p50'"),
        ("goodput.p50", MetricMissing, "single figure"),
    ],
)
def test_a_name_that_says_too_little_or_nothing_is_refused(name, error, message):
    with pytest.raises(error, match=message):
        metric(name)
