"""Folders of raw spans, as the profiler itself writes them: `Trace_Service/ms_service_*.db`, in either layout."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_msprof.errors import StoreError
from pytest_msprof.sources.databases import columns, opened
from pytest_msprof.sources.quantities import span
from pytest_msprof.sources.source import Figures, Source
from pytest_msprof.sources.spread import spread

__all__ = ["is_raw", "read_raw"]

PATTERN = "ms_service_*.db"
MSTX = (
    "SELECT json_extract(message, '$.name'), endTimestamp - timestamp FROM Mstx "
    "WHERE endTimestamp > timestamp AND json_valid(message)"
)
BROKEN = (
    "SELECT rowid FROM Mstx WHERE CASE WHEN json_valid(message) "
    "THEN endTimestamp > timestamp AND json_type(message, '$.name') IS NOT 'text' ELSE 1 END LIMIT 1"
)
SLICE = "SELECT name, duration FROM slice WHERE duration > 0"
TOLD = (
    "SELECT count(*), sum(json_extract(message, '$.\"recvTokenSize=\"')) FROM Mstx "
    "WHERE json_extract(message, '$.name') = 'httpReq'"
)
"""How many requests came, and their tokens."""
MILLION = 1e6
"""Nanoseconds of a millisecond."""


def is_raw(folder: Path) -> bool:
    """Say whether *folder* holds raw spans."""
    return bool(_databases(folder))


def read_raw(folder: Path) -> Source:
    """Read the times of all spans by name, from all processes together.

    Raises `StoreError` for a database that cannot be read, or has neither layout.
    """
    durations: dict[str, array[float]] = {}
    requests = tokens = 0
    for path in _databases(folder):
        with opened(path) as connection:
            for name, duration in _spans(connection, path):
                durations.setdefault(name, array("d")).append(duration / MILLION)
            came, asked = connection.execute(TOLD).fetchone() if columns(connection, "Mstx") else (0, 0)
            requests, tokens = requests + came, tokens + (asked or 0)
    if not durations:
        raise StoreError(f"{folder} has no spans: nothing in {PATTERN} lasted any time")
    figures = Figures()
    for name, values in sorted(durations.items()):
        figures.add(span(name), spread(np.frombuffer(values)), count=len(values))
    identity = {"requests": str(requests), "input tokens": f"{tokens:.15g}"} if requests else {}
    return Source(path=folder, kind="raw spans", figures=figures, identity=identity)


def _databases(folder: Path) -> list[Path]:
    """Return the databases below *folder*, or in it."""
    if not folder.is_dir():
        return []
    return sorted(folder.glob(f"Trace_Service/{PATTERN}")) or sorted(folder.glob(PATTERN))


def _spans(connection: sqlite3.Connection, path: Path) -> Iterator[tuple[str, float]]:
    if {"message", "timestamp", "endTimestamp"} <= set(columns(connection, "Mstx")):
        if broken := connection.execute(BROKEN).fetchone():
            raise StoreError(f"{path}, table Mstx, row {broken[0]}, column 'message': JSON with a name was wanted")
        query = MSTX
    elif {"name", "duration"} <= set(columns(connection, "slice")):
        query = SLICE
    else:
        raise StoreError(f"{path} has neither the table Mstx nor the table slice of a profiler")
    for name, duration in connection.execute(query):
        if not isinstance(name, str) or not isinstance(duration, int | float):
            raise StoreError(f"{path}: the span {name!r} lasts {duration!r}, but a name and a number were wanted")
        yield name, duration
