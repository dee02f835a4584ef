"""Folders of raw spans, as the profiler itself writes them: `Trace_Service/ms_service_*.db`, in either layout."""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Iterator
from pathlib import Path

from pytest_msprof.errors import StoreError
from pytest_msprof.sources.databases import columns, opened
from pytest_msprof.sources.quantities import span
from pytest_msprof.sources.requests_told import requests_of
from pytest_msprof.sources.source import Figures, Source
from pytest_msprof.sources.spool import spooled
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
    "SELECT CAST(json_extract(message, '$.\"recvTokenSize=\"') AS REAL) FROM Mstx "
    "WHERE json_valid(message) AND json_extract(message, '$.name') = 'httpReq'"
)
"""The tokens of each request that came."""
MILLION = 1e6
"""Nanoseconds of a millisecond."""


def is_raw(folder: Path) -> bool:
    """Say whether *folder* holds raw spans."""
    return bool(_databases(folder))


def read_raw(folder: Path) -> Source:
    """Read the times of all spans by name, from all processes together.

    Raises `StoreError` for a database that cannot be read, or has neither layout.
    """
    figures = Figures()
    tokens = array("d")
    hosts: dict[str, None] = {}
    with spooled() as durations:
        for path in _databases(folder):
            with opened(path) as connection:
                for name, duration in _spans(connection, path):
                    durations.add(name, duration / MILLION)
                tokens.extend(_asked(connection))
                hosts |= dict.fromkeys(_hosts(connection))
        for name, values in durations.take():
            found = spread(values)
            figures.add(span(name), found.statistics, count=found.size, shape=found.shape)
    if not figures.values:
        raise StoreError(f"{folder} has no spans: nothing in {PATTERN} lasted any time")
    return Source(
        path=folder,
        kind="raw spans",
        figures=figures,
        identity=requests_of(tokens),
        environment={"host": ", ".join(hosts)} if hosts else {},
    )


def _asked(connection: sqlite3.Connection) -> Iterator[float]:
    """Yield the input tokens of each request that came, NaN where an event does not say."""
    if columns(connection, "Mstx"):
        yield from (math.nan if tokens is None else tokens for (tokens,) in connection.execute(TOLD))


def _hosts(connection: sqlite3.Connection) -> list[str]:
    if not {"name", "value"} <= set(columns(connection, "Meta")):
        return []
    return [str(value) for (value,) in connection.execute("SELECT value FROM Meta WHERE name = 'hostname'")]


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
