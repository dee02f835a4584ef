"""The rows behind an analysed folder: how many requests, how large the batches, how long each took."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_msprof.errors import StoreError
from pytest_msprof.sources.databases import columns, opened
from pytest_msprof.sources.quantities import SPAN_NAMES
from pytest_msprof.sources.spool import spooled
from pytest_msprof.sources.spread import Spread, spread
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
    durations: Mapping[str, Spread] = field(default_factory=dict)
    """Milliseconds of the executions, by the kind of their batch (`Prefill`, `Decode`)."""


def read_batches(folder: Path) -> Batches:
    """Read `profiler.db`, or the CSV files where there is none; nothing is known where both are missing."""
    database = folder / "profiler.db"
    if database.exists():
        with opened(database) as connection:
            return _from_database(connection, database)
    return _from_tables(folder)


def _from_database(connection: sqlite3.Connection, path: Path) -> Batches:
    requests = None
    if columns(connection, "request"):
        (requests,) = connection.execute("SELECT count(*) FROM request").fetchone()
    if not set(NEEDED) <= set(columns(connection, "batch")):
        return Batches(requests)
    sizes = connection.execute(
        "SELECT name, CAST(batch_size AS INTEGER), count(*) FROM batch WHERE batch_size IS NOT NULL GROUP BY 1, 2"
    ).fetchall()
    event = _event({str(name) for name, _, _ in sizes})
    with spooled() as durations:
        if SPAN_NAMES.get(event) == "execute":
            query = "SELECT rowid, batch_type, during_time FROM batch WHERE name = ? AND during_time IS NOT NULL"
            for row, kind, duration in connection.execute(query, (event,)):
                if not isinstance(duration, float | int) or math.isinf(duration):
                    raise StoreError(
                        f"{path}, table batch, row {row}, column 'during_time': a finite figure was wanted, "
                        f"but got {duration!r}"
                    )
                durations.add(str(kind), duration)
        return Batches(
            requests=requests,
            event=event,
            histogram={size: count for name, size, count in sizes if name == event},
            durations={kind: spread(values) for kind, values in durations.take()},
        )


def _from_tables(folder: Path) -> Batches:
    requests = sum(1 for _ in rows(folder / "request.csv", ())) if (folder / "request.csv").exists() else None
    path = folder / "batch.csv"
    if not path.exists():
        return Batches(requests)
    sizes: Counter[tuple[str, int]] = Counter()
    with spooled() as durations:
        for line, row in rows(path, ("name", "batch_type", "batch_size", "during_time(ms)")):
            sizes[row["name"], int(figure(path, line, row, "batch_size"))] += 1
            if SPAN_NAMES.get(row["name"]) == "execute":
                durations.add(f"{row['name']}/{row['batch_type']}", figure(path, line, row, "during_time(ms)"))
        event = _event({name for name, _ in sizes})
        return Batches(
            requests=requests,
            event=event,
            histogram={size: count for (name, size), count in sizes.items() if name == event},
            durations={
                name.removeprefix(f"{event}/"): spread(values)
                for name, values in durations.take()
                if name.startswith(f"{event}/")
            },
        )


def _event(names: Iterable[str]) -> str:
    """Return the event that happens once a batch: its execution, else its schedule, else the first."""
    order = {"execute": 0, "schedule": 1}
    return min(names, key=lambda name: (order.get(SPAN_NAMES.get(name, ""), 2), name), default="")
