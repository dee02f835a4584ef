"""Cells of a spreadsheet: figures that compute, text that never becomes a formula."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, NamedTuple

from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from pytest_msprof.comparison import Delta
from pytest_msprof.metrics import METRICS
from pytest_msprof.results import Value

__all__ = [
    "CHANGE",
    "DATE",
    "FIGURE",
    "SHARE",
    "Column",
    "Figure",
    "Shaded",
    "delta_cells",
    "fill",
    "number_format",
    "pour",
    "with_unit",
    "writable",
]

NARROWEST, WIDEST = 8, 60
MEASURED = 200
"""Rows that decide how wide the columns of a long sheet are."""
LONGEST_TEXT = 32_767
"""Characters a cell can hold."""
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot carry."""
FORMULA_STARTS = ("=", "+", "-", "@")

PLAIN, SECONDS, FIGURE = "General", "0.0000", "#,##0.0"
CHANGE, SHARE, DATE = "+0.0%;-0.0%;0.0%", "0.0%", "yyyy-mm-dd hh:mm:ss"
HEADING, UPPER = Font(bold=True), Alignment(vertical="top")
WRAPPED = Alignment(vertical="top", wrap_text=True)
GOOD, BAD, UNSURE = ("13703A", "E8F4EC"), ("B3261E", "FBEBEA"), ("855300", "FBF1DE")
COLOURS = {
    "improved": GOOD,
    "regressed": BAD,
    "incomparable": BAD,
    "failed": BAD,
    "inconclusive": UNSURE,
    "descriptive": UNSURE,
    "infeasible": UNSURE,
    "behind": UNSURE,
}
"""Text and ground of a verdict or state."""


class Column(NamedTuple):
    """A heading, and the number format of the figures below it."""

    name: str
    format: str = PLAIN
    coloured: bool = False
    """Whether it holds verdicts or states."""


class Figure(NamedTuple):
    """A figure with a number format of its own, for columns that mix units."""

    value: float | None
    format: str


class Shaded(NamedTuple):
    """A value in the colours of a verdict."""

    value: Value
    verdict: str
    format: str = PLAIN


def delta_cells(delta: Delta, shown: str) -> tuple[Value, ...]:
    """Return both figures in the number format *shown*, their change, and what it rests on."""
    return (
        Figure(delta.golden, shown),
        Figure(delta.current, shown),
        delta.change,
        delta.low,
        delta.high,
        delta.tolerance,
        delta.detectable,
        delta.p_value,
        delta.launches_golden,
        delta.launches_current,
    )


def number_format(metric: str) -> str:
    """Return how the figures of *metric* are shown; the cell keeps every digit."""
    known = METRICS.get(metric.partition(".")[0])
    if known is None:
        return PLAIN
    return {"s": SECONDS, "s/token": SECONDS, "1": SHARE}.get(known.unit, FIGURE)


def with_unit(metric: str) -> str:
    """Return a metric as a heading: `ttft.p50 (s)`."""
    known = METRICS.get(metric.partition(".")[0])
    return f"{metric} ({known.unit})" if known and known.unit != "1" else metric


def writable(text: str) -> str:
    """Return *text* without what XML cannot carry."""
    return UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def fill(sheet: Worksheet, columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> None:
    """Write a heading and *rows*, then make the sheet pleasant to scroll, sort and filter."""
    widths = [len(column.name) for column in columns]
    for index, column in enumerate(columns, start=1):
        _head(sheet.cell(1, index), column)  # type: ignore[arg-type]  # nothing is merged here
    for number, row in enumerate(rows, start=2):
        cells: list[Cell] = [sheet.cell(number, index) for index in range(1, len(row) + 1)]  # type: ignore[misc]
        widths = _wider(widths, _write(cells, columns, row))
    _widen(sheet, widths)
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions


def pour(sheet: Any, columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> None:
    """Do what `fill` does for the sheet of a write-only workbook; its first rows decide about the widths."""
    waiting = iter(rows)
    first = list(islice(waiting, MEASURED))
    widths = [len(column.name) for column in columns]
    for row in first:
        widths = _wider(widths, _write([WriteOnlyCell(sheet) for _ in row], columns, row))
    _widen(sheet, widths)
    sheet.freeze_panes = "A2"
    heads = [WriteOnlyCell(sheet) for _ in columns]
    for cell, column in zip(heads, columns, strict=True):
        _head(cell, column)
    sheet.append(heads)
    count = 1
    for count, row in enumerate(chain(first, waiting), start=2):  # noqa: B007 - how many there were
        cells = [WriteOnlyCell(sheet) for _ in row]
        _write(cells, columns, row)
        sheet.append(cells)
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{count}"


def _head(cell: Cell, column: Column) -> None:
    _set(cell, column.name)
    cell.font, cell.alignment = HEADING, WRAPPED


def _write(cells: Sequence[Cell], columns: Sequence[Column], row: Sequence[Value]) -> list[int]:
    """Write one row, and return how wide its cells want to be."""
    for cell, column, value in zip(cells, columns, row, strict=True):
        _set(cell, value)
        _dress(cell, column, value)
    found = [_width(cell) for cell in cells]
    if max(found) > WIDEST:
        _wrap(cells, found)
    return found


def _wider(widths: Sequence[int], others: Sequence[int]) -> list[int]:
    return [max(pair) for pair in zip(widths, others, strict=True)]


def _widen(sheet: Any, widths: Sequence[int]) -> None:
    for index, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(index)].width = min(max(width + 2, NARROWEST), WIDEST)


def _dress(cell: Cell, column: Column, value: Value) -> None:
    if isinstance(cell.value, datetime):
        cell.number_format = DATE
    elif isinstance(value, Figure | Shaded):
        cell.number_format = value.format
    elif cell.data_type == "n":
        cell.number_format = column.format
    verdict = value.verdict if isinstance(value, Shaded) else str(cell.value) if column.coloured else ""
    if colours := COLOURS.get(verdict):
        ink, ground = colours
        cell.font, cell.fill = Font(color=ink, bold=True), PatternFill("solid", fgColor=ground)


def _wrap(cells: Sequence[Cell], widths: Sequence[int]) -> None:
    """Break long text into lines, and keep its neighbours at its first line."""
    for cell, width in zip(cells, widths, strict=True):
        cell.alignment = WRAPPED if width > WIDEST else UPPER


def _width(cell: Cell) -> int:
    if isinstance(cell.value, datetime):
        return len(DATE)
    if isinstance(cell.value, float):
        return NARROWEST
    return max(map(len, str(cell.value or "").split("\n")))


def _set(cell: Cell, value: Value) -> None:
    """Give a cell its value; text that looks like a formula stays text, also after somebody edits the cell."""
    content = _content(value)
    cell.value = content
    if isinstance(content, str):
        cell.data_type = "s"
        if content.startswith(FORMULA_STARTS):
            cell.quotePrefix = True


def _content(value: Value) -> Value:
    """Return what a cell can hold: no zones, no NaN, no nested values, no control characters."""
    if isinstance(value, Figure | Shaded):
        value = value.value
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str):
        return writable(value)[:LONGEST_TEXT]
    return value
