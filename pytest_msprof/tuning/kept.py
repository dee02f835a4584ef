"""What a study keeps of each run beside what it asked for: another study may ask for something else."""

from __future__ import annotations

from itertools import islice

from pytest_msprof.metric_table import METRICS
from pytest_msprof.results import Run

__all__ = ["figures_of"]

STATISTICS = ("mean", "p50", "p90", "p95", "p99")
MOST = 128
"""Figures of a run that are kept: one of ours has about 40, a plugin's may have any number."""


def figures_of(run: Run) -> dict[str, float]:
    """Return the metrics of *run* and the statistics of its distributions by name (`ttft.p50`), as objectives count."""
    run = run.finite()
    names = [f"{name}.{statistic}" for name in run.distributions for statistic in STATISTICS]
    described = {name: _statistic(run, run.as_objective(name)) for name in names if name.partition(".")[0] in METRICS}
    found = {**run.metrics, **{name: value for name, value in described.items() if value is not None}}
    return dict(islice(found.items(), MOST))


def _statistic(run: Run, name: str) -> float | None:
    base, _, statistic = name.partition(".")
    return run.distributions[base].root.get(statistic)
