"""The distributions of a run: of the whole run with the intervals of its percentiles, and of its steady state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_msprof.metrics import METRICS
from pytest_msprof.results import Run

__all__ = ["PERCENTILES", "STATISTICS", "Bounded", "Statistics", "statistics_of"]

STATISTICS = ("mean", "std", "min", "max")
PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")
WHOLE, STEADY = "whole run", "steady state"


class Bounded(NamedTuple):
    """A percentile, None where too few requests support it, and its 95 % interval, where it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Statistics(NamedTuple):
    """What one metric was in one part of a run."""

    part: str
    metric: str
    n: int
    plain: tuple[float | None, ...]
    """In the order of `STATISTICS`."""
    percentiles: tuple[Bounded, ...]
    """In the order of `PERCENTILES`."""


def statistics_of(run: Run) -> Iterator[Statistics]:
    """Yield the distributions of *run*, the whole run first."""
    parts = [(WHOLE, run.distributions, run.intervals)]
    if run.steady is not None:
        parts.append((STEADY, run.steady.distributions, {}))
    for part, distributions, intervals in parts:
        for metric in (name for name in METRICS if name in distributions):
            found = distributions[metric]
            bounded = (Bounded(found.root.get(q), *intervals.get(f"{metric}.{q}", (None, None))) for q in PERCENTILES)
            yield Statistics(part, metric, found.n, tuple(map(found.root.get, STATISTICS)), tuple(bounded))
