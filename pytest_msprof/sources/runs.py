"""Runs of ours as sources: a run directory, a golden, a folder of runs, runs inside pytest-benchmark's JSON."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pytest_msprof.display import field_value
from pytest_msprof.evidence import STATISTICS
from pytest_msprof.golden import GoldenStore
from pytest_msprof.metric_table import METRICS
from pytest_msprof.metrics import quantities
from pytest_msprof.results import Distribution, Measurement, Run, Value
from pytest_msprof.samples import Samples
from pytest_msprof.sources.quantities import Quantity
from pytest_msprof.sources.requests_told import requests_of
from pytest_msprof.sources.source import Figures, Source
from pytest_msprof.sources.spool import spooled
from pytest_msprof.sources.spread import spread
from pytest_msprof.store import RunStore

__all__ = ["is_ours", "of_measurement", "of_run", "read_ours"]

RUN, GOLDEN = "run.json", "golden.json"
SHOWN = (*STATISTICS, "min", "max")


def is_ours(path: Path) -> bool:
    """Say whether *path* is one run, or one golden."""
    return (path / RUN).is_file() or (path / GOLDEN).is_file()


def read_ours(path: Path) -> list[Source]:
    """Read a run, or the runs of a golden; raises `StoreError` that names a damaged file."""
    folder = path.resolve()
    if (path / RUN).is_file():
        store = RunStore(folder.parent)
        return [of_run(store.load(folder), path, store.requests(folder))]
    golden = GoldenStore(folder.parent).load(folder.name.rpartition("-")[2])
    beside = RunStore(folder.parent.parent / "runs")
    return [of_run(run, path / run.id, beside.requests(beside.folder / run.id)) for run in golden.runs]


def of_run(run: Run, path: Path, requests: Iterable[Samples] = ()) -> Source:
    """Return what one run of ours found; its *requests* draw its distributions."""
    drawn = _Drawn.of(requests)
    return Source(
        path=path,
        kind="run",
        figures=_figures(run.metrics, run.distributions, drawn),
        launch=run.launch_id,
        identity={"model": run.model, **drawn.asked, "requests": str(run.completed + run.failed)},
        environment=_environment(run),
        notes=tuple(f"{note} ({path})" for note in run.notes),
        run=run,
    )


def of_measurement(measured: Measurement, path: Path, *, tool: str, load: Mapping[str, object]) -> Source:
    """Return what another tool found; *load* is what its file says of the load, None where it does not."""
    told = {name.replace("_", " "): str(value) for name, value in load.items() if value is not None}
    told.pop("num requests", None)
    if "concurrency" in told:
        told.setdefault("request rate", "unlimited")
    drawn = _Drawn.of([measured.samples] if measured.samples else [])
    return Source(
        path=path,
        kind=tool,
        figures=_figures(measured.metrics, measured.distributions, drawn),
        identity={**told, **drawn.asked, "requests": str(measured.completed + measured.failed)},
        notes=tuple(f"{note} ({path})" for note in measured.notes),
    )


class _Drawn(NamedTuple):
    """What the requests of one launch say beyond its statistics."""

    shapes: Mapping[str, Sequence[float]]
    """Distributions by metric."""
    asked: Mapping[str, str]
    """How many requests there were and how long, where every one of them says."""

    @classmethod
    def of(cls, requests: Iterable[Samples]) -> _Drawn:
        """Read *requests* a block at a time."""
        with spooled() as spool:
            tokens = array("d")
            for part in requests:
                tokens.extend(np.where(part.input_tokens < 0, np.nan, part.input_tokens))
                for name, values in quantities(part).items():
                    spool.extend(name, values[np.isfinite(values)])
            shapes = {name: spread(values).shape for name, values in spool.take() if len(values)}
        return cls(shapes, requests_of(tokens))


def _figures(metrics: Mapping[str, float], distributions: Mapping[str, Distribution], drawn: _Drawn) -> Figures:
    """Return metrics and distributions in our words as figures."""
    figures = Figures()
    for name, value in metrics.items():
        figures.add(_quantity("service", name), {"value": value})
    for name, found in distributions.items():
        values = {statistic: found.root[statistic] for statistic in SHOWN if statistic in found.root}
        figures.add(_quantity("request", name), values, count=found.n or None, shape=drawn.shapes.get(name, ()))
    return figures


def _environment(run: Run) -> dict[str, str]:
    """Return what a reader wants to see of a run beside its figures; equal ones read equal."""
    hardware = run.environment.get("hardware")
    facts: dict[str, Value] = {
        "engine": run.engine,
        "engine version": run.environment.get("version"),
        "device": run.device,
        "load generator": run.load_generator,
        **{f"field {name}": value for name, value in run.fields.items()},
        **{f"load field {name}": value for name, value in run.load_fields.items()},
        **{f"workload {name}": value for name, value in run.workload.model_dump(mode="json").items() if value},
        "command": run.environment.get("command"),
        **{f"package {name}": value for name, value in _mapping(run.environment.get("packages")).items()},
        **{f"hardware {name}": value for name, value in _mapping(hardware).items()},
        "started": f"{run.started_at:%Y-%m-%d %H:%M:%S}",
    }
    return {name: field_value(value) for name, value in facts.items() if value is not None}


def _mapping(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, Mapping) else {}


def _quantity(dimension: str, name: str) -> Quantity:
    known = METRICS.get(name)
    return Quantity(dimension, name, name, known.unit if known else "", 1.0, known.better if known else None)
