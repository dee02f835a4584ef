"""The steady state of a run: the part between the ramp-up and the drain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.goodput import good_requests
from pytest_msprof.metrics import describe, quantities
from pytest_msprof.results import SteadyState
from pytest_msprof.samples import Samples
from pytest_msprof.series import ends, running_at, token_counts

__all__ = ["steady_state"]


def steady_state(samples: Samples, limits: Mapping[str, float]) -> SteadyState | None:
    """Measure a run from when its usual number of requests first ran until when it last did.

    The usual number is the median over time of those in flight while requests were sent: the
    concurrency of a closed loop, the plateau of an open one. *limits* are those of `goodput`. None
    where no request lies wholly inside.
    """
    if not len(samples):
        return None
    start, end, level = _between(samples)
    ended = ends(samples)
    over_inside = (ended >= start) & (ended <= end)
    inside = over_inside & (samples.start >= start) & samples.ok
    if not inside.any() or end <= start:
        return None
    length, sent = end - start, int(over_inside.sum())
    metrics = {
        "success_rate": int((over_inside & samples.ok).sum()) / sent,
        "request_throughput": int((over_inside & samples.ok).sum()) / length,
    }
    if tokens := float(token_counts(samples, np.array([start, end]))[0]):
        metrics["output_throughput"] = tokens / length
    if limits:
        metrics["goodput"] = int((over_inside & good_requests(samples, limits)).sum()) / length
    begin = float(samples.start.min())
    summaries = {name: describe(values) for name, values in quantities(samples, inside).items()}
    return SteadyState(
        start=start - begin,
        end=end - begin,
        running=level,
        requests=int(inside.sum()),
        metrics=metrics,
        distributions={name: found.distribution for name, found in summaries.items() if found.distribution.n},
    )


def _between(samples: Samples) -> tuple[float, float, int]:
    """Return when the usual number of requests first ran, when it last did, and that number."""
    moments, running = running_at(samples)
    level = _usual(moments, running, until=float(samples.start.max()))
    reached = np.flatnonzero(running[:-1] >= level)
    return float(moments[reached[0]]), float(moments[reached[-1] + 1]), level


def _usual(moments: NDArray[np.float64], running: NDArray[np.int64], *, until: float) -> int:
    """Return the median over time in flight while requests were sent; the most where all went at once."""
    lasted = np.diff(np.minimum(moments, until))
    if not lasted.any():
        return int(running.max())
    order = np.argsort(running[:-1], kind="stable")
    passed = np.cumsum(lasted[order])
    return int(running[order][np.searchsorted(passed, passed[-1] / 2)])
