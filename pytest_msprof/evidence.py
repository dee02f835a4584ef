"""What runs show about a metric, launch by launch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_msprof.errors import MetricMissing, UnknownName
from pytest_msprof.metrics import METRICS
from pytest_msprof.results import Run

__all__ = ["STATISTICS", "by_launch", "shared_metrics", "whole", "why_missing"]

STATISTICS = ("mean", "p50", "p90", "p95", "p99")
"""What is shown of a distribution; a tolerance may name others."""


def whole(runs: Sequence[Run]) -> list[Run]:
    """Leave out runs whose load was cut short: they measured another workload."""
    return [run for run in runs if run.complete]


def by_launch(runs: Sequence[Run], metric: str) -> list[list[float]]:
    """Return the values of *metric*, one list for each launch that has any."""
    found: dict[str, list[float]] = {}
    for run in whole(runs):
        try:
            value = run.value(metric)
        except (MetricMissing, UnknownName):
            continue
        if math.isfinite(value):
            found.setdefault(run.launch_id, []).append(value)
    return list(found.values())


def why_missing(runs: Sequence[Run], metric: str) -> str:
    """Say why none of *runs* has *metric*."""
    for run in runs:
        try:
            return f"{metric} is {run.value(metric):g}"
        except (MetricMissing, UnknownName) as error:
            return str(error)
    return "there are no runs"


def shared_metrics(*sides: Sequence[Run]) -> list[str]:
    """Return the metrics that every side has which has runs, in the order of the metric table."""
    names = [{name for run in runs for name in _names(run)} for runs in sides if runs]
    tables = list(METRICS)

    def rank(name: str) -> tuple[int, int, str]:
        base, _, statistic = name.partition(".")
        return (
            tables.index(base) if base in METRICS else len(tables),
            STATISTICS.index(statistic) if statistic else 0,
            name,
        )

    return sorted(set.intersection(*names), key=rank) if names else []


def _names(run: Run) -> list[str]:
    shown = [f"{name}.{s}" for name, values in run.distributions.items() for s in STATISTICS if s in values.root]
    return [*run.metrics, *shown]
