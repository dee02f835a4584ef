"""Reading what `aiperf profile` left in its artifact directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msprof_plugins.tool_results.result import (
    NAN,
    NothingSucceeded,
    ToolResult,
    classify,
    last_line,
    load_json,
    load_json_lines,
)
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

REQUESTS = "profile_export.jsonl"
SUMMARY = "profile_export_aiperf.json"
NANO = 1e-9
MILLI = 1e-3
SLACK = 1.0
"""Seconds by which a request may lie outside of the phase that the summary describes."""


def read(path: Path) -> ToolResult:
    """Read an artifact directory, or the summary in it.

    The requests are written anew by every run, the summary by a good one only: one that describes
    another time than its requests is what an earlier run left there.

    Raises `LoadError` when a file is missing, when they do not belong together, or do not add up.
    """
    folder = path if path.is_dir() else path.parent
    rows = _rows(folder / REQUESTS)
    first_error = next((_error_text(row) for row in rows if row.get("error")), "")
    if rows and all(row.get("error") for row in rows):
        raise NothingSucceeded("aiperf", len(rows), last_line(first_error))
    summary = load_json(folder / SUMMARY, "aiperf", ("start_time", "end_time", "request_count"))
    begin, end = (_epoch(summary[name]) for name in ("start_time", "end_time"))
    _check(summary, rows, folder, begin, end)
    phase = _phase(summary)
    samples = Samples.of(list(_samples(rows, is_open_loop=phase.get("type", "concurrency") != "concurrency")))
    return ToolResult(
        tool="aiperf",
        measurement=measure(samples, _duration(rows), notes=tuple(_notes(rows, summary))),
        window=end - begin,
        first_error=last_line(first_error),
        load={
            "model": next((item["name"] for item in _items(summary)), None),
            "concurrency": phase.get("concurrency"),
            "request_rate": phase.get("rate", phase.get("request_rate")),
            "num_requests": len(rows),
        },
    )


def _rows(path: Path) -> list[Mapping[str, Any]]:
    """Read the requests that were measured, in the order they were sent; the warm-up is left out."""
    rows = load_json_lines(path, "aiperf")
    measured = [row for row in rows if row["metadata"].get("benchmark_phase", "profiling") == "profiling"]
    return sorted(measured, key=lambda row: row["metadata"]["request_start_ns"])


def _check(
    summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path, begin: float, end: float
) -> None:
    starts = [row["metadata"]["request_start_ns"] * NANO for row in rows]
    if starts and not (begin - SLACK <= starts[0] and starts[-1] <= end + SLACK):
        raise LoadError(
            f"{folder / SUMMARY} is stale: it describes a run from {summary['start_time']} to {summary['end_time']}, "
            f"but the requests in {REQUESTS} were sent at another time"
        )
    failed = sum(row.get("error") is not None for row in rows)
    told = [round(summary.get(name, {}).get("avg", 0)) for name in ("request_count", "error_request_count")]
    if told != [len(rows) - failed, failed]:
        raise LoadError(
            f"{folder} does not add up: the summary says {told[0]} completed and {told[1]} failed, "
            f"and {REQUESTS} lists {len(rows) - failed} and {failed}"
        )


def _samples(rows: Sequence[Mapping[str, Any]], *, is_open_loop: bool) -> Iterator[Sample]:
    """Turn the lines into samples; the time a connection took is moved in front of the start."""
    begin = min((row["metadata"]["request_start_ns"] for row in rows), default=0)
    for row in rows:
        metadata, failed = row["metadata"], row.get("error") is not None
        connect = _seconds(row, "http_req_connection_overhead", _seconds(row, "http_req_connecting", 0.0))
        start = (metadata["request_start_ns"] - begin) * NANO + connect
        counted = _value(row, "usage_completion_tokens")
        yield Sample(
            due=(metadata["credit_issued_ns"] - begin) * NANO if is_open_loop else start,
            start=start,
            connect=connect,
            ttft=_seconds(row, "time_to_first_token", NAN) - connect,
            latency=NAN if failed else _seconds(row, "request_latency", NAN) - connect,
            input_tokens=int(_value(row, "usage_prompt_tokens", "input_sequence_length", "error_isl") or -1),
            output_tokens=-1 if failed else int(counted or _value(row, "output_sequence_length") or -1),
            gaps=tuple(gap * MILLI for gap in _value(row, "inter_chunk_latency") or ()),
            token_source="" if failed else "usage" if counted else "tokenizer",
            error=_error(row),
        )


def _value(row: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these figures that a line has."""
    return next((row["metrics"][name]["value"] for name in names if name in row["metrics"]), None)


def _seconds(row: Mapping[str, Any], name: str, missing: float) -> float:
    value = _value(row, name)
    return missing if value is None else value * MILLI


def _error(row: Mapping[str, Any]) -> str:
    error = row.get("error")
    if error is None:
        return "cancelled" if row["metadata"].get("was_cancelled") else ""
    return f"status {error['code']}" if error.get("code") else classify(_error_text(row))


def _error_text(row: Mapping[str, Any]) -> str:
    error = row["error"]
    return f"{error.get('type', '')}: {error.get('message', '')}".replace("\0", "")


def _duration(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds from the first send to the last end."""
    times = [[row["metadata"][name] for row in rows] for name in ("request_start_ns", "request_end_ns")]
    return (max(times[1]) - min(times[0])) * NANO if rows else 0.0


def _epoch(text: str) -> float:
    """Read a time of the summary: it has no zone and means UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _phase(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    phases = summary.get("input_config", {}).get("phases") or [{}]
    return next((phase for phase in phases if phase.get("kind") == "profiling"), phases[-1])


def _items(summary: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    items: Sequence[Mapping[str, Any]] = summary.get("input_config", {}).get("models", {}).get("items") or ()
    return items


def _notes(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Iterator[str]:
    yield "measured by aiperf: its clock starts before the connection, which was taken out again here"
    answered = [row for row in rows if row.get("error") is None]
    if others := sum(not _value(row, "usage_completion_tokens") for row in answered):
        yield f"aiperf counted the tokens of {others} answers with its own tokenizer: the server told none"
    if summary.get("was_cancelled") or not summary.get("is_complete", True):
        yield f"aiperf was cancelled after {len(rows)} requests"
