"""The workbook of a comparison: a sheet a dimension, three rows a metric, as the original's tool lays them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from openpyxl import Workbook

from msprof_reports.cells import CHANGE, Column, Figure, Shaded, delta_cells, pour
from pytest_msprof.results import Value
from pytest_msprof.side_by_side import Row, SideBySide

__all__ = ["difference", "write_workbook"]

SHEETS = ("service", "request", "batch", "spans")
"""Always there, in this order."""
TITLES = {"value": "Value", "mean": "Average", "max": "Max", "min": "Min", "p50": "P50", "p90": "P90", "p99": "P99"}
SETTLED = ("improved", "regressed", "inconclusive")
MOST_ROWS, ROWS_A_METRIC = 20_000, 3
ELSEWHERE = "decide nothing or changed less: compare_result.db has them all"
PLAIN = "#,##0.####"
DIGITS = 6


def write_workbook(comparison: SideBySide, path: Path) -> None:
    """Write the workbook to *path*; a sheet of more than 20,000 rows keeps what matters most, and says so."""
    book = Workbook(write_only=True)
    for dimension in dict.fromkeys((*SHEETS, *(row.dimension for row in comparison.rows))):
        rows = [row for row in comparison.rows if row.dimension == dimension]
        statistics = list(dict.fromkeys(row.statistic for row in rows)) or ["value"]
        kept, left_out = _weightiest(rows, (MOST_ROWS - 1) // ROWS_A_METRIC, lambda row: row.label)
        pour(book.create_sheet(dimension), _columns(statistics), _triples(kept, statistics, left_out))
    pour(book.create_sheet("summary"), SUMMARY, _summary(comparison))
    pour(book.create_sheet("verdicts"), VERDICTS, _verdicts(comparison.rows))
    book.save(path)


def _weightiest(rows: Sequence[Row], most: int, of: Callable[[Row], str]) -> tuple[list[Row], int]:
    """Return the rows of the *most* things that matter most, in their order, and how many things are left out.

    *of* says what a row belongs to. What decides matters first, then what changed most.
    """
    weights: dict[str, tuple[bool, float]] = {}
    for row in rows:
        weight = (row.delta.gates, abs(row.delta.change or 0.0))
        weights[of(row)] = max(weights.get(of(row), weight), weight)
    chosen = set(sorted(weights, key=weights.__getitem__, reverse=True)[:most])
    return [row for row in rows if of(row) in chosen], len(weights) - len(chosen)


def difference(golden: float | None, current: float | None) -> str:
    """Return the distance and the change relative to golden: `0.1|-10%`."""
    if golden is None or current is None:
        return "missing"
    relative = f"{_short(100 * (current - golden) / abs(golden))}%" if golden else "—"
    return f"{_short(abs(current - golden))}|{relative}"


def _short(value: float) -> str:
    text = f"{value:.{DIGITS}g}"
    return "0" if text in {"0", "-0"} else text


def _columns(statistics: Sequence[str]) -> list[Column]:
    shown = [TITLES.get(name, name.upper()) for name in statistics]
    signed = [column for name in shown for column in (Column(f"{name}: change"), Column(f"{name}: change %", CHANGE))]
    return [Column("Metric"), Column("Data Source"), *(Column(name, PLAIN) for name in shown), *signed]


def _triples(rows: Sequence[Row], statistics: Sequence[str], left_out: int) -> Iterator[Sequence[Value]]:
    """Yield the three rows of each metric; the signed figures stand beside the difference."""
    metrics: dict[str, dict[str, Row]] = {}
    for row in rows:
        metrics.setdefault(row.label, {})[row.statistic] = row
    for label, found in metrics.items():
        cells = [found.get(name) for name in statistics]
        nothing = [None] * (2 * len(statistics))
        yield [
            label,
            "input_data",
            *(row and Figure(row.labelled(row.delta.current), PLAIN) for row in cells),
            *nothing,
        ]
        yield [
            label,
            "golden_data",
            *(row and Figure(row.labelled(row.delta.golden), PLAIN) for row in cells),
            *nothing,
        ]
        yield [label, "Difference", *map(_difference, cells), *(value for row in cells for value in _signed(row))]
    if left_out:
        yield [f"{left_out:,} further metrics {ELSEWHERE}", *[None] * (1 + 3 * len(statistics))]


def _verdicts(rows: Sequence[Row]) -> Iterator[Sequence[Value]]:
    kept, left_out = _weightiest(rows, MOST_ROWS - 1, lambda row: row.name)
    yield from map(_facts, kept)
    if left_out:
        yield [f"{left_out:,} further figures {ELSEWHERE}", *[None] * (len(VERDICTS) - 1)]


def _difference(row: Row | None) -> Value:
    if row is None:
        return None
    verdict = row.delta.verdict if row.delta.verdict in SETTLED else ""
    return Shaded(difference(row.labelled(row.delta.golden), row.labelled(row.delta.current)), verdict)


def _signed(row: Row | None) -> tuple[Value, Value]:
    """Return the signed change in the unit of the label, and relative to golden."""
    if row is None or row.is_missing:
        return None, None
    golden, current = row.labelled(row.delta.golden) or 0.0, row.labelled(row.delta.current) or 0.0
    return Figure(current - golden, PLAIN), Figure((current - golden) / abs(golden) if golden else None, CHANGE)


SUMMARY = (Column("fact"), Column("value", coloured=True))


def _summary(comparison: SideBySide) -> Iterator[Sequence[Value]]:
    yield "verdict", comparison.verdict
    yield from (("incomparable", reason) for reason in comparison.reasons)
    for name, side in (("input", comparison.input), ("golden", comparison.golden)):
        yield f"{name}_data", side.path
        yield f"{name}_data: launches", side.launches
        yield from ((f"{name}_data: {source.kind}", source.path) for source in side.sources)
        told: Mapping[str, str] = {key: value for source in side.sources for key, value in source.identity.items()}
        yield from ((f"{name}_data: {key}", value) for key, value in told.items())
    yield from (("note", note) for note in comparison.notes)


VERDICTS = (
    *map(Column, ("dimension", "metric", "statistic")),
    Column("verdict", coloured=True),
    *map(Column, ("decides", "unit", "golden", "input")),
    *(Column(name, CHANGE) for name in ("change", "change, low", "change, high", "tolerance", "detectable")),
    Column("p value", "0.0000"),
    *map(Column, ("launches golden", "launches input", "reason")),
)


def _facts(row: Row) -> Sequence[Value]:
    delta = row.delta
    return (
        row.dimension,
        row.key,
        row.statistic,
        delta.verdict,
        delta.gates,
        delta.unit,
        *delta_cells(delta, "General"),
        delta.reason,
    )
