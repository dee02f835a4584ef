"""The sheet that shows how a search went: the best so far over trials and over minutes, as rows and as charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openpyxl.chart import Reference, ScatterChart
from openpyxl.chart.legend import Legend
from openpyxl.chart.marker import Marker
from openpyxl.chart.series import XYSeries
from openpyxl.chart.series_factory import SeriesFactory
from openpyxl.worksheet.worksheet import Worksheet

from msprof_reports.cells import FIGURE, Column, Figure, fill, number_format, with_unit, writable
from pytest_msprof.results import Value
from pytest_msprof.search_facts import search_trace
from pytest_msprof.summary import StudySummary

__all__ = ["fill_search"]

MINUTE = 60
COLUMNS = (
    *map(Column, ("study", "trial", "trials so far")),
    Column("minutes so far", FIGURE),
    Column("state", coloured=True),
    *map(Column, ("objective", "value", "best so far")),
)
NAMES = [column.name for column in COLUMNS]
WIDTH, HEIGHT = 16.0, 7.5
"""Size of a chart in centimetres."""
PLACES = ("J", "S")
"""Columns at which the two charts of a study begin."""
ROWS = 16
"""Rows that a chart takes."""
LONGEST = 80


class Rows(NamedTuple):
    """Where the trials of one study stand."""

    study: StudySummary
    first: int
    last: int


def fill_search(sheet: Worksheet, studies: Sequence[StudySummary]) -> None:
    """Write a row a trial, in the order of the search, and draw the course of each study beside them."""
    fill(sheet, COLUMNS, (row for study in studies for row in _rows(study)))
    for place, rows in enumerate(_places(studies)):
        for column, across in zip(PLACES, ("trials so far", "minutes so far"), strict=True):
            sheet.add_chart(_chart(sheet, rows, across), f"{column}{2 + place * ROWS}")


def _rows(study: StudySummary) -> Iterator[Sequence[Value | Figure]]:
    shown, objective = number_format(study.objective), with_unit(study.objective)
    for count, point in enumerate(search_trace(study), start=1):
        trial = point.trial
        figures = (Figure(trial.value, shown), Figure(point.best, shown))
        yield (study.name, trial.number, count, point.seconds / MINUTE, trial.state, objective, *figures)


def _places(studies: Sequence[StudySummary]) -> Iterator[Rows]:
    """Yield the rows of each study in which something met the limits."""
    last = 1
    for study in studies:
        first, last = last + 1, last + len(study.trials)
        if any(point.is_better for point in search_trace(study)):
            yield Rows(study, first, last)


def _chart(sheet: Worksheet, rows: Rows, across: str) -> ScatterChart:
    chart = ScatterChart()
    chart.style, chart.scatterStyle = 13, "lineMarker"
    chart.title = writable(
        f"{rows.study.name.rpartition('::')[2]}: best over {across.removesuffix(' so far')}"[:LONGEST]
    )
    chart.x_axis.title, chart.y_axis.title = across, writable(with_unit(rows.study.objective))
    for title in filter(None, (chart.title, chart.x_axis.title, chart.y_axis.title)):
        title.overlay = False
    chart.x_axis.delete = chart.y_axis.delete = False
    chart.x_axis.scaling.min = 0
    chart.width, chart.height = WIDTH, HEIGHT  # type: ignore[assignment]  # a number of centimetres, whole or not
    chart.legend = Legend(legendPos="b")
    best, value = (_series(sheet, rows, across, name) for name in ("best so far", "value"))
    best.marker, value.marker = Marker("none"), Marker("circle")
    value.graphicalProperties.line.noFill = True
    chart.series.extend((best, value))
    return chart


def _series(sheet: Worksheet, rows: Rows, across: str, name: str) -> XYSeries:
    x, y = (
        Reference(sheet, min_col=NAMES.index(column) + 1, min_row=rows.first, max_row=rows.last)
        for column in (across, name)
    )
    series: XYSeries = SeriesFactory(y, x, title=name)
    return series
