"""The metrics of any run equal those of a slow and obvious implementation."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest
from drawn_samples import RUNS
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof import Sample, Samples, measure
from pytest_msprof.metric_table import SAMPLE_NEEDED


def percentile(values: list[float], q: float) -> float:
    """Interpolate linearly between the two values around the place of *q*."""
    ordered, place = sorted(values), q / 100 * (len(values) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def statistics(values: list[float]) -> dict[str, float]:
    found = {"n": len(values), "mean": fmean(values), "min": min(values), "max": max(values)}
    if len(values) > 1:
        found["std"] = stdev(values)
    for q in (50, 90, 95, 99, 99.9):
        if len(values) >= SAMPLE_NEEDED[f"p{q:g}"]:
            found[f"p{q:g}"] = percentile(values, q)
    return found


def values_of(name: str, sample: Sample) -> list[float]:
    """Return what one successful request adds to a distribution."""
    wait = sample.start - sample.due
    later = sample.output_tokens - sample.first_tokens
    return {
        "ttft": [sample.ttft],
        "tpot": [(sample.latency - sample.ttft) / later] if later > 0 else [],
        "itl": list(sample.gaps),
        "latency": [sample.latency],
        "closed": [sample.closed],
        "queue": [wait],
        "ttft_due": [sample.ttft + wait],
        "latency_due": [sample.latency + wait],
    }[name]


def slowly(samples: Samples, duration: float) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    good = [sample for sample in samples if not sample.error]
    metrics = {"success_rate": len(good) / len(samples)}
    if good:
        metrics["request_throughput"] = len(good) / duration
        metrics["output_throughput"] = sum(sample.output_tokens for sample in good) / duration
    names = ["ttft", "tpot", "itl", "latency", "closed"]
    if any(sample.start > sample.due for sample in good):
        names += ["queue", "ttft_due", "latency_due"]
    found = {name: [value for sample in good for value in values_of(name, sample)] for name in names}
    return metrics, {name: statistics(values) for name, values in found.items() if values}


@given(RUNS, st.floats(0.5, 100))
def test_every_metric_is_what_its_definition_says(samples, duration):
    metrics, distributions = slowly(samples, duration)
    found = measure(samples, duration)
    assert found.metrics == pytest.approx(metrics)
    assert {name: values.root for name, values in found.distributions.items()} == {
        name: pytest.approx(values, rel=1e-6, abs=1e-9) for name, values in distributions.items()
    }
    assert found.completed + found.failed == len(samples)
    assert sum(found.errors.values()) == found.failed
