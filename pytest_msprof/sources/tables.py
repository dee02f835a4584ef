"""CSV files of others, read strictly: what is no figure is an error that names file, row and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import store_errors

__all__ = ["LONGEST_CELL", "figure", "heading", "rows"]

LONGEST_CELL = 1 << 26
"""Characters of one cell: a batch lists all of its requests in one."""


def rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row with its line number, the columns *needed* only.

    Raises `StoreError` for a file that cannot be read, is empty, lacks a column, names one twice, or
    has a row that is too short.
    """
    csv.field_size_limit(LONGEST_CELL)
    try:
        with store_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            places = _places(path, next(reader, []), needed)
            for row in reader:
                if row:
                    yield reader.line_num, _cells(path, reader.line_num, row, places)
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise StoreError(f"{path}, row {reader.line_num}: {error}") from None


def heading(path: Path) -> tuple[str, ...]:
    """Return the names of the columns, none where the file is empty; raises `StoreError` where it cannot be read."""
    try:
        with store_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(name.strip() for name in next(csv.reader(file), []))
    except (UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path} has no heading that can be read: {error}") from None


def figure(path: Path, line: int, row: Mapping[str, str], column: str) -> float:
    """Return one cell as a finite figure; raises `StoreError` that names it otherwise."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StoreError(f"{path}, row {line}, column {column!r}: a finite figure was wanted, but got {row[column]!r}")
    return value


def _places(path: Path, header: Sequence[str], needed: Sequence[str]) -> dict[str, int]:
    if not header:
        raise StoreError(f"{path} is empty: a heading with {', '.join(needed)} was wanted")
    names = [name.strip() for name in header]
    if missing := [name for name in needed if name not in names]:
        raise StoreError(f"{path} lacks the column {', '.join(missing)} (it has: {', '.join(names)})")
    if twice := [name for name in needed if names.count(name) > 1]:
        raise StoreError(f"{path} has the column {', '.join(twice)} more than once")
    return {name: names.index(name) for name in needed}


def _cells(path: Path, line: int, row: Sequence[str], places: Mapping[str, int]) -> dict[str, str]:
    if short := [name for name, place in places.items() if place >= len(row)]:
        raise StoreError(f"{path}, row {line} ends before column {short[0]!r}: was the file cut off?")
    return {name: row[place] for name, place in places.items()}
