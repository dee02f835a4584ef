"""Columns of the tables behind an analysed folder: in `profiler.db`, or as CSV where there is none."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import StoreError
from pytest_msprof.sources.databases import columns, opened
from pytest_msprof.sources.tables import heading, rows

__all__ = ["RowValues", "row_values"]

MISSING = {"", "none", "nan", "<na>", "n/a", "null"}
"""What stands in a cell that holds no figure."""
AT_ONCE = 50_000
"""Rows that are held at a time."""


@contextmanager
def row_values(folder: Path) -> Iterator[RowValues]:
    """Give the tables of *folder*; raises `StoreError` for a database that is locked, damaged or none."""
    database = folder / "profiler.db"
    if not database.exists():
        yield RowValues(folder)
        return
    with opened(database) as connection:
        yield RowValues(folder, connection)


class RowValues:
    """The tables of one folder."""

    def __init__(self, folder: Path, connection: sqlite3.Connection | None = None) -> None:
        self._folder, self._connection = folder, connection

    def of(self, table: str, wanted: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Yield each column *wanted* with its figures, some rows at a time; times are milliseconds.

        Columns that are not there and cells that hold no figure are left out. Raises `StoreError`
        that names the row of any other text.
        """
        if self._connection is not None:
            where, names, cells = self._stored(self._connection, table, wanted)
        else:
            where, names, cells = self._written(table, wanted)
        while chunk := list(islice(cells, AT_ONCE)) if names else []:
            figures = _figures(where, names, chunk)
            for name, values in zip(names, figures.T[1:], strict=True):
                yield name, values[~np.isnan(values)]

    def _stored(self, connection: sqlite3.Connection, table: str, wanted: Sequence[str]) -> _Cells:
        names = [name for name in wanted if name in columns(connection, table)]
        listed = ", ".join(f'"{name}"' for name in ("rowid", *names))
        where = f"{self._folder / 'profiler.db'}, table {table}"
        query = f'SELECT {listed} FROM "{table}"'  # noqa: S608 - all are names of ours
        return _Cells(where, names, connection.execute(query) if names else iter(()))

    def _written(self, table: str, wanted: Sequence[str]) -> _Cells:
        path = self._folder / f"{table}.csv"
        there = heading(path) if path.exists() else ()
        spelled = {name: next((text for text in (name, f"{name}(ms)") if text in there), "") for name in wanted}
        names = [name for name in wanted if spelled[name]]
        needed = [spelled[name] for name in names]
        cells = ((line, *(row[text] for text in needed)) for line, row in rows(path, needed)) if names else iter(())
        return _Cells(str(path), names, cells)


class _Cells(NamedTuple):
    """Rows of some columns, each with its number before its cells."""

    where: str
    names: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


def _figures(where: str, names: Sequence[str], chunk: Sequence[tuple[Any, ...]]) -> NDArray[np.float64]:
    """Return rows as figures, shape ``(n, 1 + columns)``, NaN where a cell holds none."""
    try:
        found = np.array(chunk, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.full((len(chunk), 1 + len(names)), math.inf)
    if np.isinf(found).any():
        found = np.array([(row[0], *_row(where, names, row)) for row in chunk], dtype=np.float64)
    return found


def _row(where: str, names: Sequence[str], row: tuple[Any, ...]) -> Iterator[float]:
    for name, cell in zip(names, row[1:], strict=True):
        value = _figure(cell)
        if value is None:
            raise StoreError(f"{where}, row {row[0]}, column {name!r}: a finite figure was wanted, but got {cell!r}")
        yield value


def _figure(cell: object) -> float | None:
    """Return a cell as a figure, NaN where it holds none, None where it holds something else."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return math.nan
    try:
        value = float(cell)  # type: ignore[arg-type]  # whatever SQLite holds
    except (TypeError, ValueError):
        return None
    return None if math.isinf(value) else value
