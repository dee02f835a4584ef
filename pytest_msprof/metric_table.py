"""The table of metrics: what each name means, in which unit, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pytest_msprof.errors import MetricMissing, UnknownName

__all__ = [
    "AGREEMENT",
    "COST",
    "METRICS",
    "QUALITY",
    "SAMPLE_NEEDED",
    "SCORE",
    "Metric",
    "as_objective",
    "check_limits",
    "metric",
]

SCORE = "score"
"""What several objectives of a study make together; no load measures it."""
AGREEMENT = "agreement"
"""What a study measures of the answers of each configuration, beside any load."""
QUALITY = "quality"
"""What a plugin measures of the answers, as `quality.NAME`; the name is the plugin's."""
COST = "cost"
"""What a study makes of the price of an hour; no load measures it."""


class Metric(NamedTuple):
    """What a name means: its unit, which way is better, and one sentence."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    distribution: bool
    meaning: str


METRICS = {
    entry.name: entry
    for entry in (
        Metric("ttft", "s", "lower", True, "time to first token"),
        Metric("tpot", "s/token", "lower", True, "time per output token after the first event"),
        Metric("itl", "s", "lower", True, "gap between neighbouring events with content"),
        Metric("latency", "s", "lower", True, "until the last event with content"),
        Metric("closed", "s", "lower", True, "until the last byte of the answer"),
        Metric("queue", "s", "lower", True, "wait from due to start"),
        Metric("ttft_due", "s", "lower", True, "time to first token, counted from due"),
        Metric("latency_due", "s", "lower", True, "latency, counted from due"),
        Metric("output_throughput", "token/s", "higher", False, "output tokens of successful requests / duration"),
        Metric("output_throughput_per_device", "token/s", "higher", False, "output throughput / devices that serve"),
        Metric("request_throughput", "request/s", "higher", False, "successful requests / duration"),
        Metric("goodput", "request/s", "higher", False, "requests that met every objective / duration"),
        Metric("energy", "J/token", "lower", False, "energy of all devices during the run / output tokens"),
        Metric("power", "W", "lower", False, "mean power of all devices during the run"),
        Metric(COST, "per Mtoken", "lower", False, "price of an hour / output tokens of an hour, in millions"),
        Metric("success_rate", "1", "higher", False, "successful / sent"),
        Metric(AGREEMENT, "1", "higher", False, "share of greedy tokens equal to the default's"),
        Metric(QUALITY, "1", "higher", True, "share of right answers, by a plugin's own test"),
        Metric(SCORE, "", "higher", False, "weighted geometric mean of the objectives of a study that has several"),
        Metric("prefill_throughput", "token/s", "higher", False, "prompt tokens of a batch / time of its prefill"),
        Metric(
            "decode_throughput", "token/s", "higher", False, "tokens after the first ones / time of all decode steps"
        ),
        Metric("device_memory", "B", "lower", False, "largest use of the device's memory"),
        Metric("host_memory", "B", "lower", False, "largest resident set of the process"),
        Metric("load_time", "s", "lower", False, "reading the weights and bringing them to the device"),
        Metric("compile_time", "s", "lower", False, "first pass of a batch size in a graph mode"),
        Metric("warmup_time", "s", "lower", False, "untimed passes before the first timed one"),
    )
}

SAMPLE_NEEDED = {"mean": 1, "std": 2, "min": 1, "max": 1, "p50": 1, "p90": 10, "p95": 20, "p99": 100, "p99.9": 1000}
"""Values a statistic needs: a percentile needs one value beyond it."""


def metric(name: str) -> Metric:
    """Return the metric behind `ttft.p50` or `output_throughput`.

    Raises `UnknownName` for a name that is not in the table, or a statistic that does not exist,
    and `MetricMissing` where a distribution is named without a statistic or a figure with one.
    """
    base, _, statistic = name.partition(".")
    if base not in METRICS:
        raise UnknownName("metric", base, METRICS)
    found = METRICS[base]
    if found.distribution and not statistic:
        if base == QUALITY:
            raise MetricMissing(f"{base!r} needs the name of a test, such as '{base}.gsm8k'")
        raise MetricMissing(f"{base!r} is a distribution: name a statistic, such as '{base}.p50'")
    if statistic and not found.distribution:
        raise MetricMissing(f"{base!r} is a single figure and has no statistic {statistic!r}")
    if statistic and statistic not in SAMPLE_NEEDED and base != QUALITY:
        raise UnknownName(f"statistic of {base}", statistic, SAMPLE_NEEDED)
    return found


def check_limits(limits: Mapping[str, float]) -> None:
    """Raise `UnknownName` where a limit of single requests names what a single request does not have."""
    of_requests = [entry.name for entry in METRICS.values() if entry.distribution and entry.name != QUALITY]
    for name in limits:
        if name not in of_requests:
            raise UnknownName("metric of a request", name, of_requests)


def as_objective(name: str) -> str:
    """Return the metric that stands for *name* where requests are due at a time: `ttft_due.p99` for `ttft.p99`."""
    base, dot, statistic = name.partition(".")
    return f"{base}_due{dot}{statistic}" if f"{base}_due" in METRICS else name
