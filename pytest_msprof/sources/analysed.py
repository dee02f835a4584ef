"""Folders that the original's `analyze` wrote: summaries, tables of requests and batches, `profiler.db`.

Such folders have known faults, and what is known to be wrong is not carried on: `request.csv` holds
first-token latencies and queue waits 1000 times too small, `start_time(ms)` of `batch.csv` is in
microseconds, and the rows of execution times may be missing from `batch_summary.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import store_errors
from pytest_msprof.sources.batches import Batches, read_batches
from pytest_msprof.sources.quantities import quantity, span
from pytest_msprof.sources.requests_told import lengths
from pytest_msprof.sources.row_distributions import add_rows, draw
from pytest_msprof.sources.source import Figures, Name, Source
from pytest_msprof.sources.spool import spooled
from pytest_msprof.sources.spread import spread
from pytest_msprof.sources.tables import figure, heading, rows

__all__ = ["is_analysed", "read_analysed"]

SUMMARIES = {"service": "service_summary.csv", "request": "request_summary.csv", "batch": "batch_summary.csv"}
STATISTICS = {"Average": "mean", "Max": "max", "Min": "min", "P50": "p50", "P90": "p90", "P99": "p99"}
EXECUTION = {"Prefill": "prefill_exec_time (ms)", "Decode": "decode_exec_time (ms)"}
TOLD = {"total_input_tokens": "input tokens", "total_output_tokens": "output tokens"}
LOOKED_AT = 1000
"""Rows that show what unit a column is in."""
SPAN_NAME, SPAN_TIME = "span_name", "during_time(ms)"
TOO_SMALL = (300.0, 3000.0)
"""The summary over the table, where the table's milliseconds are seconds."""
MICROSECONDS_SINCE_1970 = 1e14


@dataclass(slots=True)
class _Reading:
    """What has been read of one folder."""

    folder: Path
    figures: Figures = field(default_factory=Figures)
    notes: list[str] = field(default_factory=list)


def is_analysed(folder: Path) -> bool:
    """Say whether `analyze` wrote *folder*."""
    names = (*SUMMARIES.values(), "profiler.db", "request.csv", "batch.csv")
    return folder.is_dir() and any((folder / name).exists() for name in names)


def read_analysed(folder: Path) -> Source:
    """Read one such folder; raises `StoreError` that names file, row and column where one is damaged."""
    reading = _Reading(folder)
    for dimension, name in SUMMARIES.items():
        if (folder / name).exists():
            _summary(reading, dimension, folder / name)
        else:
            reading.notes.append(f"{name} is missing in {folder}")
    batches = read_batches(folder)
    _execution_times(reading, batches)
    _check_requests(reading)
    _check_batches(reading)
    _spans(reading)
    add_rows(folder, reading.figures)
    if not reading.figures.values:
        raise StoreError(f"{folder} holds no figures: one of {', '.join(SUMMARIES.values())} was wanted")
    requests = batches.requests
    if requests is not None:
        reading.figures.counts |= {found: requests for found in reading.figures.quantities if found[0] == "request"}
    return Source(
        path=folder,
        kind="analysed folder",
        figures=reading.figures,
        identity=_identity(reading.figures, requests),
        histogram=batches.histogram,
        notes=tuple(reading.notes),
    )


def _summary(reading: _Reading, dimension: str, path: Path) -> None:
    columns = {"Value": "value"} if dimension == "service" else STATISTICS
    seen = set()
    for line, row in rows(path, ("Metric", *columns)):
        name = row["Metric"].strip()
        if name in seen:
            raise StoreError(f"{path}, row {line}, column 'Metric': {name!r} stands there a second time")
        seen.add(name)
        values = {ours: figure(path, line, row, theirs) for theirs, ours in columns.items()}
        reading.figures.add(quantity(dimension, name), values)
    if not seen:
        raise StoreError(f"{path} has a heading and no rows")


def _execution_times(reading: _Reading, batches: Batches) -> None:
    """Fill execution times that the summary leaves out, from the events of the batches."""
    for kind, label in EXECUTION.items():
        found = quantity("batch", label)
        told = batches.durations.get(kind)
        if (found.dimension, found.key) in reading.figures.quantities:
            draw(reading.figures, found, told.shape if told else ())
            continue
        if told is None:
            reading.notes.append(f"{label} is missing in {SUMMARIES['batch']} of {reading.folder}")
            continue
        reading.figures.add(found, told.statistics, count=told.size, shape=told.shape)
        reading.notes.append(
            f"{label} is missing in {SUMMARIES['batch']} of {reading.folder}: taken from the {batches.event} events"
        )


def _check_requests(reading: _Reading) -> None:
    """Say that the table of requests is in other units than it says, where the summary shows it."""
    path, column = reading.folder / "request.csv", "first_token_latency(ms)"
    if not path.exists():
        return
    table = list(_column(path, column))
    told = reading.figures.values.get(Name("request", "ttft", "p50"))
    if not table or told is None:
        return
    median = float(np.median(table))
    if median > 0 and TOO_SMALL[0] < told * 1e3 / median < TOO_SMALL[1]:
        reading.notes.append(
            f"{path} has first-token latencies and queue waits 1000 times too small (median {median:g} ms, but "
            f"{told * 1e3:g} ms in the summary): the summary counts"
        )


def _check_batches(reading: _Reading) -> None:
    path, column = reading.folder / "batch.csv", "start_time(ms)"
    if path.exists() and any(value > MICROSECONDS_SINCE_1970 for value in _column(path, column)):
        reading.notes.append(f"{column} of {path} is in microseconds: it is not used")


def _column(path: Path, column: str) -> Iterator[float]:
    """Yield the figures at the beginning of a column, without the cells that hold none."""
    for _, row in islice(rows(path, (column,)), LOOKED_AT):
        try:
            yield float(row[column])
        except ValueError:
            continue


def _spans(reading: _Reading) -> None:
    """Read the folder `span_info`: a table for each span that `analyze --span` was asked for, in milliseconds."""
    folder = reading.folder / "span_info"
    if not folder.is_dir():
        return
    with store_errors(folder):
        paths = sorted(folder.glob("*.csv"))
    with spooled() as durations:
        for path in paths:
            named = (SPAN_NAME,) if SPAN_NAME in heading(path) else ()
            for line, row in rows(path, (*named, SPAN_TIME)):
                durations.add(row.get(SPAN_NAME) or path.stem, figure(path, line, row, SPAN_TIME))
        for name, values in durations.take():
            told = spread(values)
            reading.figures.add(span(name), told.statistics, count=told.size, shape=told.shape)


def _identity(figures: Figures, requests: int | None) -> Mapping[str, str]:
    named = {name: figures.values.get(Name("service", key, "value")) for key, name in TOLD.items()}
    told = {name: f"{value:.15g}" for name, value in named.items() if value is not None}
    asked = [figures.values.get(Name("request", "input_tokens", statistic)) for statistic in ("min", "p50", "max")]
    found = [value for value in asked if value is not None]
    told |= lengths(*found) if len(found) == len(asked) else {}
    return told if requests is None else {**told, "requests": str(requests)}
