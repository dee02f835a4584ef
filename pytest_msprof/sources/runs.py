"""Runs of ours as sources: a run directory, a golden, a folder of runs, runs inside pytest-benchmark's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_msprof.evidence import STATISTICS
from pytest_msprof.golden import GoldenStore
from pytest_msprof.metric_table import METRICS
from pytest_msprof.results import Distribution, Measurement, Run
from pytest_msprof.sources.quantities import Quantity
from pytest_msprof.sources.source import Figures, Source
from pytest_msprof.store import RunStore

__all__ = ["figures_of", "is_ours", "of_measurement", "of_run", "read_ours"]

RUN, GOLDEN = "run.json", "golden.json"
SHOWN = (*STATISTICS, "min", "max")


def is_ours(path: Path) -> bool:
    """Say whether *path* is one run, or one golden."""
    return (path / RUN).is_file() or (path / GOLDEN).is_file()


def read_ours(path: Path) -> list[Source]:
    """Read a run, or the runs of a golden; raises `StoreError` that names a damaged file."""
    folder = path.resolve()
    if (path / RUN).is_file():
        return [of_run(RunStore(folder.parent).load(folder), path)]
    golden = GoldenStore(folder.parent).load(folder.name.rpartition("-")[2])
    return [of_run(run, path / run.id) for run in golden.runs]


def of_run(run: Run, path: Path) -> Source:
    """Return what one run of ours found."""
    return Source(
        path=path,
        kind="run",
        figures=figures_of(run.metrics, run.distributions),
        launch=run.launch_id,
        identity={"model": run.model, "requests": str(run.completed + run.failed)},
        notes=tuple(f"{note} ({path})" for note in run.notes),
        run=run,
    )


def of_measurement(measured: Measurement, path: Path, *, tool: str, load: Mapping[str, object]) -> Source:
    """Return what another tool found; *load* is what its file says of the load."""
    told = {name.replace("_", " "): str(value) for name, value in load.items() if name != "num_requests"}
    samples = measured.samples
    tokens = {"input tokens": str(samples.input_tokens.sum())} if samples and (samples.input_tokens >= 0).all() else {}
    return Source(
        path=path,
        kind=tool,
        figures=figures_of(measured.metrics, measured.distributions),
        identity={**told, **tokens, "requests": str(measured.completed + measured.failed)},
        notes=tuple(f"{note} ({path})" for note in measured.notes),
    )


def figures_of(metrics: Mapping[str, float], distributions: Mapping[str, Distribution]) -> Figures:
    """Return metrics and distributions in our words as figures."""
    figures = Figures()
    for name, value in metrics.items():
        figures.add(_quantity("service", name), {"value": value})
    for name, found in distributions.items():
        values = {statistic: found.root[statistic] for statistic in SHOWN if statistic in found.root}
        figures.add(_quantity("request", name), values, count=found.n or None)
    return figures


def _quantity(dimension: str, name: str) -> Quantity:
    known = METRICS.get(name)
    return Quantity(dimension, name, name, known.unit if known else "", 1.0, known.better if known else None)
