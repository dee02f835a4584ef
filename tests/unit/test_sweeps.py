"""Sweeps go where they were sent, or find their own way between the two ends."""

from __future__ import annotations

import pytest

from pytest_msprof import Stages, Sweep, Trace, Workload
from pytest_msprof.errors import InvalidWorkload, LoadError, MetricMissing
from pytest_msprof.results import Measurement


def measured(**metrics: float) -> Measurement:
    return Measurement(duration=1.0, completed=1, failed=0, metrics=metrics)


def test_given_rates_or_concurrencies_are_gone_through():
    base = Workload(input_tokens=9, concurrency=3)
    rates = list(Sweep(base, request_rates=[1, 4]).workloads())
    assert [(load.request_rate, load.concurrency, load.input_tokens) for load in rates] == [(1, None, 9), (4, None, 9)]
    numbers = list(Sweep(Workload(request_rate=2), concurrencies=[1, 8]).workloads())
    assert [(load.request_rate, load.concurrency) for load in numbers] == [(None, 1), (None, 8)]


def test_it_goes_from_one_at_a_time_to_all_at_once_and_to_the_rates_between():
    sweep, loads = Sweep(Workload(), points=5, most=32), []
    for throughput, load in zip([2.0, 10.0, 4.0, 6.0, 8.0], sweep.workloads(), strict=True):
        loads.append((load.concurrency, load.request_rate))
        sweep.tell(measured(request_throughput=throughput))
    assert loads == [(1, None), (32, None), (None, 4.0), (None, 6.0), (None, 8.0)]


def test_the_rates_between_need_to_know_the_ends():
    sweep = Sweep(Workload())
    with pytest.raises(LoadError, match="tell"):
        list(sweep.workloads())
    with pytest.raises(MetricMissing, match="needs request_throughput, but found ttft"):
        sweep.tell(measured(ttft=1.0))


@pytest.mark.parametrize(
    ("workload", "options", "message"),
    [
        ({}, {"request_rates": [1], "concurrencies": [1]}, "request_rates or concurrencies, but got both"),
        ({}, {"request_rates": [1, 0]}, "'request_rate': input should be greater than 0, but got 0"),
        ({}, {"concurrencies": [-1]}, "'concurrency': input should be greater than or equal to 1, but got -1"),
        ({}, {"points": 1}, "has 2 points at least, its ends, but got 1"),
        ({"arrival": "burst"}, {}, "a sweep sets the load itself"),
        ({"stages": Stages(concurrency=(1, 2), seconds=1)}, {}, "a sweep sets the load itself"),
        ({"trace": Trace(path="t")}, {}, "a sweep sets the load itself"),
    ],
)
def test_what_contradicts_a_sweep_is_refused(workload, options, message):
    with pytest.raises(InvalidWorkload) as caught:
        Sweep(Workload(**workload), **options)
    assert message in str(caught.value)
