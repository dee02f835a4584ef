"""The rows behind an analysed folder: how many requests, how large the batches, how long each took."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.sources.databases import columns, opened
from pytest_msprof.sources.quantities import SPAN_NAMES
from pytest_msprof.sources.tables import figure, rows

__all__ = ["Batches", "read_batches"]

NEEDED = ("name", "batch_type", "batch_size", "during_time")


@dataclass(frozen=True, slots=True)
class Batches:
    """What the rows of one folder say."""

    requests: int | None = None
    """How many there were; None where no table says."""
    event: str = ""
    """The event that stands for a batch, as its framework calls it."""
    histogram: Mapping[int, int] = field(default_factory=dict)
    """Batches by their size."""
    durations: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Milliseconds of each execution, by the kind of its batch (`Prefill`, `Decode`)."""


def read_batches(folder: Path) -> Batches:
    """Read `profiler.db`, or the CSV files where there is none; nothing is known where both are missing."""
    database = folder / "profiler.db"
    if database.exists():
        with opened(database) as connection:
            return _from_database(connection)
    return _from_tables(folder)


def _from_database(connection: sqlite3.Connection) -> Batches:
    requests = None
    if columns(connection, "request"):
        (requests,) = connection.execute("SELECT count(*) FROM request").fetchone()
    if not set(NEEDED) <= set(columns(connection, "batch")):
        return Batches(requests)
    sizes = connection.execute(
        "SELECT name, CAST(batch_size AS INTEGER), count(*) FROM batch WHERE batch_size IS NOT NULL GROUP BY 1, 2"
    ).fetchall()
    event = _event({name for name, _, _ in sizes})
    kinds = [
        kind for (kind,) in connection.execute("SELECT DISTINCT batch_type FROM batch WHERE name = ?", (event,)) if kind
    ]
    query = "SELECT during_time FROM batch WHERE name = ? AND batch_type = ? AND typeof(during_time) != 'text'"
    return Batches(
        requests=requests,
        event=event,
        histogram={size: count for name, size, count in sizes if name == event},
        durations={
            str(kind): np.fromiter((value for (value,) in connection.execute(query, (event, kind))), np.float64)
            for kind in kinds
            if SPAN_NAMES.get(event) == "execute"
        },
    )


def _from_tables(folder: Path) -> Batches:
    requests = sum(1 for _ in rows(folder / "request.csv", ())) if (folder / "request.csv").exists() else None
    path = folder / "batch.csv"
    if not path.exists():
        return Batches(requests)
    sizes: Counter[tuple[str, int]] = Counter()
    durations: dict[tuple[str, str], list[float]] = {}
    for line, row in rows(path, ("name", "batch_type", "batch_size", "during_time(ms)")):
        sizes[row["name"], int(figure(path, line, row, "batch_size"))] += 1
        durations.setdefault((row["name"], row["batch_type"]), []).append(figure(path, line, row, "during_time(ms)"))
    event = _event({name for name, _ in sizes})
    return Batches(
        requests=requests,
        event=event,
        histogram={size: count for (name, size), count in sizes.items() if name == event},
        durations={
            kind: np.array(values)
            for (name, kind), values in durations.items()
            if name == event and SPAN_NAMES.get(event) == "execute"
        },
    )


def _event(names: Iterable[str]) -> str:
    """Return the event that happens once a batch: its execution, else its schedule, else the first."""
    order = {"execute": 0, "schedule": 1}
    return min(names, key=lambda name: (order.get(SPAN_NAMES.get(name, ""), 2), name), default="")
