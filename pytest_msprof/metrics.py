"""The metrics of a run: their names, units and directions, and how they follow from its requests."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import MetricMissing, UnknownName
from pytest_msprof.results import SAMPLE_NEEDED, Distribution, Measurement, PerformanceIndex
from pytest_msprof.samples import Samples

__all__ = ["METRICS", "Metric", "from_index", "measure", "metric", "quantities", "summarize"]


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
        Metric("request_throughput", "request/s", "higher", False, "successful requests / duration"),
        Metric("goodput", "request/s", "higher", False, "requests that met every objective / duration"),
        Metric("success_rate", "1", "higher", False, "successful / sent"),
    )
}

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


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
        raise MetricMissing(f"{base!r} is a distribution: name a statistic, such as '{base}.p50'")
    if statistic and not found.distribution:
        raise MetricMissing(f"{base!r} is a single figure and has no statistic {statistic!r}")
    if statistic and statistic not in SAMPLE_NEEDED:
        raise UnknownName(f"statistic of {base}", statistic, SAMPLE_NEEDED)
    return found


def summarize(values: NDArray[np.float64]) -> Distribution:
    """Return the statistics that *values*, shape ``(n,)``, can support; NaN counts as no value."""
    values = values[np.isfinite(values)]
    found: dict[str, float] = {"n": float(values.size)}
    if values.size:
        found |= {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
    if values.size > 1:
        found["std"] = float(values.std(ddof=1))
    supported = [q for q in PERCENTILES if values.size >= SAMPLE_NEEDED[f"p{q:g}"]]
    found |= {f"p{q:g}": float(v) for q, v in zip(supported, np.percentile(values, supported), strict=True)} if supported else {}
    return Distribution(found)


def quantities(samples: Samples) -> dict[str, NDArray[np.float64]]:
    """Return the values behind each distribution, successful requests only; NaN where one has none."""
    ok = samples.ok
    after_first = (samples.output_tokens - samples.first_tokens)[ok]
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot = np.where(after_first > 0, (samples.latency - samples.ttft)[ok] / after_first, np.nan)
    found = {
        "ttft": samples.ttft[ok],
        "tpot": tpot,
        "itl": samples.gaps[np.repeat(ok, np.diff(samples.gap_offsets))],
        "latency": samples.latency[ok],
        "closed": samples.closed[ok],
    }
    queue = (samples.start - samples.due)[ok]
    if np.any(queue > 0):
        found |= {"queue": queue, "ttft_due": found["ttft"] + queue, "latency_due": found["latency"] + queue}
    return found


def measure(samples: Samples, duration: float, *, notes: tuple[str, ...] = (), complete: bool = True) -> Measurement:
    """Compute every metric of STYLE.md's table from the requests of a run that took *duration* seconds."""
    ok = samples.ok
    completed, sent = int(ok.sum()), len(samples)
    tokens = samples.output_tokens[ok]
    counted = int(tokens[tokens > 0].sum())
    metrics = {"success_rate": completed / sent} if sent else {}
    if completed and duration > 0:
        metrics["request_throughput"] = completed / duration
        if counted:
            metrics["output_throughput"] = counted / duration
    return Measurement(
        duration=duration,
        completed=completed,
        failed=sent - completed,
        metrics=metrics,
        distributions={name: found for name, values in quantities(samples).items() if (found := summarize(values)).n},
        errors=dict(Counter(str(error) for error in samples.error if error)),
        samples=samples,
        notes=notes,
        complete=complete,
    )


def from_index(index: PerformanceIndex, *, duration: float, sent: int) -> Measurement:
    """Translate what a benchmark of the seed's interface found; *sent* requests in *duration* seconds."""
    rate = index.success_rate
    completed = sent if rate is None else round(sent * rate)
    scalars = {
        "output_throughput": index.generate_speed,
        "request_throughput": index.throughput,
        "success_rate": rate,
    }
    means = {"ttft": index.time_to_first_token, "tpot": index.time_per_output_token}
    return Measurement(
        duration=duration,
        completed=completed,
        failed=sent - completed,
        metrics={name: value for name, value in scalars.items() if value is not None},
        distributions={name: Distribution({"mean": value}) for name, value in means.items() if value is not None},
        notes=("means only: the benchmark reports no distribution",),
    )
