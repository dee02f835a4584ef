"""Columns of the tables behind an analysed folder: in `profiler.db`, or as CSV where there is none."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_msprof.errors import StoreError
from pytest_msprof.sources.databases import columns, opened
from pytest_msprof.sources.tables import heading, rows

__all__ = ["RowValues", "row_values"]

MISSING = {"", "none", "nan", "<na>", "n/a", "null"}
"""What stands in a cell that holds no figure."""


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

    def of(self, table: str, column: str) -> Iterator[float]:
        """Yield the figures of a column, none where it is not there; times are milliseconds.

        Cells that hold none are left out. Raises `StoreError` that names the row of any other text.
        """
        if self._connection is not None:
            where, cells = self._stored(self._connection, table, column)
        else:
            where, cells = self._written(table, column)
        for row, cell in cells:
            value = _figure(cell)
            if value is None:
                raise StoreError(f"{where}, row {row}, column {column!r}: a finite figure was wanted, but got {cell!r}")
            if not math.isnan(value):
                yield value

    def _stored(
        self, connection: sqlite3.Connection, table: str, column: str
    ) -> tuple[str, Iterator[tuple[int, object]]]:
        where = f"{self._folder / 'profiler.db'}, table {table}"
        if column not in columns(connection, table):
            return where, iter(())
        query = f'SELECT rowid, "{column}" FROM "{table}"'  # noqa: S608 - both are names of ours
        return where, connection.execute(query)

    def _written(self, table: str, column: str) -> tuple[str, Iterator[tuple[int, object]]]:
        path = self._folder / f"{table}.csv"
        names = heading(path) if path.exists() else ()
        found = next((name for name in (column, f"{column}(ms)") if name in names), None)
        if found is None:
            return str(path), iter(())
        return str(path), ((line, row[found]) for line, row in rows(path, (found,)))


def _figure(cell: object) -> float | None:
    """Return a cell as a figure, NaN where it holds none, None where it holds something else."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return math.nan
    try:
        value = float(cell)  # type: ignore[arg-type]  # whatever SQLite holds
    except (TypeError, ValueError):
        return None
    return None if math.isinf(value) else value
