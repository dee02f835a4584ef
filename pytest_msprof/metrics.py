"""How the metrics of a run follow from its requests."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.intervals import percentiles
from pytest_msprof.metric_table import METRICS, SAMPLE_NEEDED, Metric, metric
from pytest_msprof.results import Distribution, Measurement, PerformanceIndex
from pytest_msprof.samples import Samples

__all__ = [
    "METRICS",
    "Metric",
    "Summary",
    "describe",
    "from_index",
    "measure",
    "metric",
    "quantities",
    "summarize",
]


PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
SLICE = 1 << 20
"""Values of which a temporary copy may be made."""


class Summary(NamedTuple):
    """What the values behind one distribution say."""

    distribution: Distribution
    intervals: dict[str, tuple[float, float]]
    """95 % intervals of the percentiles that have one, by statistic."""


def summarize(values: NDArray[np.floating]) -> Distribution:
    """Return the statistics that *values*, shape ``(n,)``, can support; NaN counts as no value."""
    return describe(values).distribution


def describe(values: NDArray[np.floating], groups: NDArray[np.int64] | None = None) -> Summary:
    """Return the statistics of *values*, shape ``(n,)``, with intervals; NaN counts as no value.

    *groups* says how many values in a row belong to one request, where they are more than one.
    """
    finite = np.isfinite(values)
    if not finite.all():
        values, groups = values[finite], None
    found: dict[str, float] = {"n": float(values.size)}
    if not values.size:
        return Summary(Distribution(found), {})
    found |= {"mean": float(values.mean(dtype=np.float64)), "min": float(values.min()), "max": float(values.max())}
    if values.size > 1:
        found["std"] = _deviation(values, found["mean"])
    supported = [q for q in PERCENTILES if values.size >= SAMPLE_NEEDED[f"p{q:g}"]]
    points, intervals = percentiles(values, supported, groups=groups)
    found |= {f"p{q:g}": value for q, value in points.items()}
    return Summary(Distribution(found), {f"p{q:g}": bounds for q, bounds in intervals.items()})


def _deviation(values: NDArray[np.floating], mean: float) -> float:
    """Return the sample standard deviation, a slice at a time: there may be 100 million values."""
    slices = (values[low : low + SLICE] for low in range(0, values.size, SLICE))
    return math.sqrt(math.fsum(float(((part - mean) ** 2).sum()) for part in slices) / (values.size - 1))


def quantities(samples: Samples, chosen: NDArray[np.bool_] | None = None) -> dict[str, NDArray[np.floating]]:
    """Return the values behind each distribution, NaN where a request has none.

    They are those of the successful requests, or of those among them that are *chosen*, shape ``(n,)``.
    """
    ok = samples.ok if chosen is None else samples.ok & chosen
    found: dict[str, NDArray[np.floating]] = {
        "ttft": samples.ttft[ok],
        "tpot": samples.tpot[ok],
        "itl": _gaps(samples, ok),
        "latency": samples.latency[ok],
        "closed": samples.closed[ok],
    }
    queue = (samples.start - samples.due)[ok]
    if np.any(queue > 0):
        found |= {"queue": queue, "ttft_due": found["ttft"] + queue, "latency_due": found["latency"] + queue}
    return found


def _gaps(samples: Samples, chosen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return the gaps of the requests that are *chosen*, without a copy where that is all of them."""
    return samples.gaps if chosen.all() else samples.gaps[np.repeat(chosen, np.diff(samples.gap_offsets))]


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
    groups = {"itl": np.diff(samples.gap_offsets)[ok]}
    found = {name: describe(values, groups.get(name)) for name, values in quantities(samples).items()}
    return Measurement(
        duration=duration,
        completed=completed,
        failed=sent - completed,
        metrics=metrics,
        distributions={name: summary.distribution for name, summary in found.items() if summary.distribution.n},
        intervals={f"{name}.{q}": bounds for name, summary in found.items() for q, bounds in summary.intervals.items()},
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
