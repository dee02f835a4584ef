"""How the metrics of a run follow from its requests."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.metric_table import METRICS, SAMPLE_NEEDED, Metric, metric
from pytest_msprof.results import Distribution, Measurement, PerformanceIndex
from pytest_msprof.samples import Samples

__all__ = ["METRICS", "Metric", "from_index", "measure", "metric", "quantities", "summarize"]


PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


def summarize(values: NDArray[np.float64]) -> Distribution:
    """Return the statistics that *values*, shape ``(n,)``, can support; NaN counts as no value."""
    values = values[np.isfinite(values)]
    found: dict[str, float] = {"n": float(values.size)}
    if values.size:
        found |= {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
    if values.size > 1:
        found["std"] = float(values.std(ddof=1))
    supported = [q for q in PERCENTILES if values.size >= SAMPLE_NEEDED[f"p{q:g}"]]
    found |= (
        {f"p{q:g}": float(v) for q, v in zip(supported, np.percentile(values, supported), strict=True)}
        if supported
        else {}
    )
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
