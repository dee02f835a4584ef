"""Reading what `evalscope perf` left: its table of requests, or its summaries alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from msprof_plugins.tool_results.result import NAN, ToolResult, load_json, of_figures
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.results import Distribution, Value
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

REQUESTS = "benchmark_data.db"
SELECTED = """
SELECT start_time, completed_time, success, latency, first_chunk_latency, prompt_tokens, completion_tokens,
    inter_token_latencies
FROM result ORDER BY start_time
"""
SUMMARY, PERCENTILES, ARGUMENTS = "benchmark_summary.json", "benchmark_percentile.json", "benchmark_args.json"
MILLI = 1e-3
COLUMNS = {
    "latency": ("Latency (s)", "Avg Latency (s)", 1.0),
    "ttft": ("TTFT (ms)", "Avg TTFT (ms)", MILLI),
    "tpot": ("TPOT (ms)", "Avg TPOT (ms)", MILLI),
    "itl": ("ITL (ms)", "Avg ITL (ms)", MILLI),
}
ROWS = {"min": "min", "50%": "p50", "90%": "p90", "95%": "p95", "99%": "p99", "max": "max"}


class _Row(NamedTuple):
    """One request of the table; times in seconds of one clock."""

    start_time: float
    completed_time: float
    success: int
    latency: float | None
    first_chunk_latency: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    inter_token_latencies: str


def read(path: Path) -> ToolResult:
    """Read the folder of one load, or the summary in it: by its table of requests where that was kept.

    Raises `LoadError` when a file is missing, or the table and the summary contradict each other.
    Where nothing succeeded the tool writes −1 and −1000 as values: there is none then.
    """
    folder = path if path.is_dir() else path.parent
    told = load_json(folder / SUMMARY, "evalscope", ("Success Requests", "Failed Requests", "Test Duration (s)"))
    completed, arguments = told["Success Requests"], _arguments(folder)
    load: dict[str, Value] = {
        "model": arguments.get("model"),
        "concurrency": told.get("Concurrency"),
        "request_rate": rate if (rate := told.get("Request Rate (req/s)", -1)) > 0 else None,
        "num_requests": completed + told["Failed Requests"],
    }
    if (folder / REQUESTS).exists():
        return _of_requests(_requests(folder / REQUESTS), told, folder, load)
    rates = {
        "request_throughput": told.get("Req Throughput (req/s)"),
        "output_throughput": told.get("Output Throughput (tok/s)"),
    }
    return of_figures(
        "evalscope",
        duration=told["Test Duration (s)"],
        completed=completed,
        failed=told["Failed Requests"],
        metrics=rates if completed else {},
        distributions=_distributions(told, _rows(folder / PERCENTILES)) if completed else {},
        load=load,
    )


def _of_requests(rows: Sequence[_Row], told: Mapping[str, Any], folder: Path, load: Mapping[str, Value]) -> ToolResult:
    succeeded = sum(bool(row.success) for row in rows)
    if [succeeded, len(rows) - succeeded] != [told["Success Requests"], told["Failed Requests"]]:
        raise LoadError(
            f"{folder} does not add up: the summary says {told['Success Requests']} completed and "
            f"{told['Failed Requests']} failed, and {REQUESTS} lists {succeeded} and {len(rows) - succeeded}"
        )
    window = max(row.completed_time for row in rows) - min(row.start_time for row in rows)
    notes = ("measured by evalscope: its clock starts before the connection, and it keeps no reason of a failure",)
    return ToolResult("evalscope", measure(Samples.of(list(_samples(rows))), window, notes=notes), window, load=load)


def _requests(path: Path) -> list[_Row]:
    """Read the table, but not what was said: that is pickled."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            rows = database.execute(SELECTED).fetchall()
    except sqlite3.Error as error:
        raise LoadError(f"evalscope: the requests in {path} cannot be read: {error}") from None
    if not rows:
        raise LoadError(f"evalscope kept no request in {path}")
    return [_Row(*row) for row in rows]


def _samples(rows: Sequence[_Row]) -> Iterator[Sample]:
    """Turn rows into samples: content ends with the last gap, and the tool's latency with the usage event."""
    begin = rows[0].start_time
    for row in rows:
        start = row.start_time - begin
        if not row.success or row.first_chunk_latency is None:
            yield Sample(due=start, start=start, error="unknown")
            continue
        gaps = tuple(json.loads(row.inter_token_latencies))
        yield Sample(
            due=start,
            start=start,
            ttft=row.first_chunk_latency,
            latency=row.first_chunk_latency + sum(gaps),
            closed=NAN if row.latency is None else row.latency,
            input_tokens=-1 if row.prompt_tokens is None else row.prompt_tokens,
            output_tokens=-1 if row.completion_tokens is None else row.completion_tokens,
            gaps=gaps,
            token_source="" if row.completion_tokens is None else "usage",
        )


def _arguments(folder: Path) -> Mapping[str, Any]:
    return load_json(folder / ARGUMENTS, "evalscope") if (folder / ARGUMENTS).exists() else {}


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        rows: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"evalscope wrote no percentiles to {path}: {error}") from None
    return rows


def _distributions(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> dict[str, Distribution]:
    """Turn the table by its side: a distribution a column."""
    found = {}
    for name, (column, mean, unit) in COLUMNS.items():
        values = {ROWS[row["Percentiles"]]: row.get(column) for row in rows if row["Percentiles"] in ROWS}
        values["mean"] = told.get(mean)
        known = {statistic: float(value) * unit for statistic, value in values.items() if value is not None}
        found[name] = Distribution({"n": float(told["Success Requests"]), **known} if name != "itl" else known)
    return found
