"""The database of a comparison, which the dashboard reads: figures as figures, one row a statistic."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pytest_msprof.side_by_side import Row, SideBySide

__all__ = ["DIMENSIONS", "write_database"]

DIMENSIONS = ("service", "request", "batch", "spans", "benchmarks")
FIGURES = (
    "metric TEXT NOT NULL, label TEXT NOT NULL, unit TEXT NOT NULL, statistic TEXT NOT NULL, "
    "golden_data REAL, input_data REAL, difference REAL, relative REAL, low REAL, high REAL, "
    "tolerance REAL, detectable REAL, p_value REAL, better TEXT, verdict TEXT NOT NULL, gates INTEGER NOT NULL, "
    "launches_golden INTEGER NOT NULL, launches_input INTEGER NOT NULL, reason TEXT NOT NULL"
)
"""Figures are in the unit of the label, changes relative to golden."""
OTHERS = (
    "CREATE TABLE batch_size (side TEXT NOT NULL, batch_size INTEGER NOT NULL, batches INTEGER NOT NULL)",
    (
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, side TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, "
        "launch TEXT NOT NULL, identity TEXT NOT NULL)"
    ),
    (
        "CREATE TABLE distributions (side TEXT NOT NULL, dimension TEXT NOT NULL, metric TEXT NOT NULL, "
        "label TEXT NOT NULL, share REAL NOT NULL, value REAL NOT NULL)"
    ),
    "CREATE TABLE run_figures (run INTEGER NOT NULL REFERENCES runs (id), metric TEXT NOT NULL, value REAL NOT NULL)",
    (
        "CREATE TABLE comparisons (schema_version INTEGER NOT NULL, input_path TEXT NOT NULL, "
        "golden_path TEXT NOT NULL, verdict TEXT NOT NULL, reasons TEXT NOT NULL, notes TEXT NOT NULL)"
    ),
)


def write_database(comparison: SideBySide, path: Path) -> None:
    """Write the database to *path*, which does not exist yet."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for dimension in DIMENSIONS:
            connection.execute(f"CREATE TABLE {dimension} ({FIGURES})")
            rows = [_figures(row) for row in comparison.rows if row.dimension == dimension]
            places = ", ".join("?" * (FIGURES.count(",") + 1))
            connection.executemany(f"INSERT INTO {dimension} VALUES ({places})", rows)  # noqa: S608 - names of ours
        for statement in OTHERS:
            connection.execute(statement)
        connection.executemany("INSERT INTO batch_size VALUES (?, ?, ?)", _sizes(comparison))
        connection.executemany("INSERT INTO distributions VALUES (?, ?, ?, ?, ?, ?)", _distributions(comparison))
        _runs(connection, comparison)
        connection.execute(
            "INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?)",
            (
                comparison.schema_version,
                comparison.input.path,
                comparison.golden.path,
                comparison.verdict,
                "\n".join(comparison.reasons),
                "\n".join(comparison.notes),
            ),
        )


def _figures(row: Row) -> tuple[object, ...]:
    delta = row.delta
    golden, current = row.labelled(delta.golden), row.labelled(delta.current)
    distance = None if golden is None or current is None else current - golden
    return (
        row.key,
        row.label,
        delta.unit,
        row.statistic,
        golden,
        current,
        distance,
        distance / abs(golden) if distance is not None and golden else None,
        delta.low,
        delta.high,
        delta.tolerance,
        delta.detectable,
        delta.p_value,
        delta.better,
        delta.verdict,
        int(delta.gates),
        delta.launches_golden,
        delta.launches_current,
        delta.reason,
    )


def _sizes(comparison: SideBySide) -> Iterator[tuple[str, int, int]]:
    for name, side in (("golden_data", comparison.golden), ("input_data", comparison.input)):
        yield from ((name, size, count) for size, count in side.histogram.items())


def _distributions(comparison: SideBySide) -> Iterator[tuple[str, str, str, str, float, float]]:
    """Yield which share of the values lies at or below each, in the unit of the label."""
    metrics = {row.metric: row for row in comparison.rows}
    for name, side in (("golden_data", comparison.golden), ("input_data", comparison.input)):
        for metric, shape in side.shapes.items():
            row = metrics[metric]
            for place, value in enumerate(shape, start=1):
                yield name, row.dimension, row.key, row.label, place / len(shape), value * row.per_unit


def _runs(connection: sqlite3.Connection, comparison: SideBySide) -> None:
    sides = (("golden_data", comparison.golden), ("input_data", comparison.input))
    sources = [(name, source) for name, side in sides for source in side.sources]
    for number, (name, source) in enumerate(sources, start=1):
        facts = (number, name, source.path, source.kind, source.launch, json.dumps(source.identity))
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", facts)
        figures = [(number, metric, value) for metric, value in source.figures.items()]
        connection.executemany("INSERT INTO run_figures VALUES (?, ?, ?)", figures)
