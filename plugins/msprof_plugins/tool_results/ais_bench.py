"""Reading what `ais_bench --mode perf` left in its work directory."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

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

DETAILS = "_details.jsonl"
STAGE = "total"
NUMBER = re.compile(r"[-+0-9.eE]+")
USAGE_EVENT, ROLE_AND_USAGE_EVENT = 1, 2

Times = Mapping[tuple[str, int], NDArray[np.float64]]


def read(path: Path) -> ToolResult:
    """Read a work directory, one of its time-stamped folders, or the JSON file of totals of a dataset.

    The times come from the database beside them: the table of figures is rounded to 0.1 ms. An
    answer that was sent for again after a failure counts as failed, whatever the tool calls it.

    Raises `LoadError` when files are missing, when several runs lie there, or when they do not add up.
    """
    details = _details(path)
    rows = _rows(details)
    times = _times(details.parent / "db_data", {str(row["db_name"]) for row in rows})
    samples = Samples.of(list(_samples(rows, times)))
    first_error = last_line(next((row["error_info"] for row in rows if row["error_info"]), ""))
    if not any(row["success"] for row in rows):
        raise NothingSucceeded("ais_bench", len(rows), first_error)
    totals = load_json(details.with_name(details.name.removesuffix(DETAILS) + ".json"), "ais_bench")
    _check(totals, rows, details)
    return ToolResult(
        tool="ais_bench",
        measurement=measure(samples, _duration(rows, times), notes=tuple(_notes(rows, times))),
        window=_duration([row for row in rows if row["success"]], times),
        first_error=first_error,
        load={"model": None, "concurrency": None, "request_rate": None, "num_requests": len(rows)},
    )


def _details(path: Path) -> Path:
    """Find the file of requests."""
    if path.is_file():
        return path if path.name.endswith(DETAILS) else path.with_name(f"{path.stem}{DETAILS}")
    found = sorted(path.rglob(f"*{DETAILS}"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(entry.relative_to(path)) for entry in found) or "nothing"
    raise LoadError(f"ais_bench: one *{DETAILS} was wanted below {path}, but there is: {names}")


def _rows(details: Path) -> list[dict[str, Any]]:
    return sorted(load_json_lines(details, "ais_bench"), key=lambda row: row["id"])


def _times(folder: Path, names: set[str]) -> Times:
    """Read when each request started and when each of its events came, seconds of one clock."""
    found: dict[tuple[str, int], NDArray[np.float64]] = {}
    for name in names:
        try:
            with closing(
                sqlite3.connect(f"file:{quote(str(folder / name))}?mode=ro&immutable=1", uri=True)
            ) as database:
                for number, blob in database.execute("SELECT id, arr_blob FROM numpy_store"):
                    found[name, number] = np.load(io.BytesIO(blob), allow_pickle=False)
        except (sqlite3.Error, ValueError) as error:
            raise LoadError(
                f"ais_bench: the times of the requests in {folder / name} cannot be read: {error}"
            ) from None
    return found


def _points(row: Mapping[str, Any], times: Times) -> NDArray[np.float64]:
    """Return the start of a request and the times of its events; empty where the only attempt was cut."""
    number = (row["time_points"] or {}).get("__db_ref__")
    return np.empty(0) if number is None else times[row["db_name"], number]


def _samples(rows: Sequence[Mapping[str, Any]], times: Times) -> Iterator[Sample]:
    begin = min((float(points[0]) for row in rows if (points := _points(row, times)).size), default=0.0)
    start = 0.0
    for row in rows:
        points, error = _points(row, times), _error(row)
        # requests go out in the order of their ids: one without times started no earlier than the one before
        start, events = (float(points[0]) - begin, points[1:] - points[0]) if points.size else (start, points)
        content = events if error else _content(events, row["output_tokens"])
        is_timed = content.size > 0 and not error
        yield Sample(
            due=start,
            start=start,
            ttft=float(content[0]) if content.size else NAN,
            latency=float(content[-1]) if is_timed else NAN,
            closed=float(events[-1]) if is_timed else NAN,
            input_tokens=row["input_tokens"] or -1,
            output_tokens=-1 if error else row["output_tokens"] or content.size,
            gaps=tuple(np.diff(content).tolist()),
            token_source="" if error else "usage" if row["output_tokens"] else "events",
            error=error,
        )


def _content(events: NDArray[np.float64], tokens: int) -> NDArray[np.float64]:
    """Take off the events without content: with one token an event, their number tells which they are.

    The tool writes 0 *tokens* where the server told none, and then there is no usage event either.
    """
    more = events.size - tokens if tokens else 0
    if more == ROLE_AND_USAGE_EVENT:
        return events[1:-1]
    return events[:-1] if more == USAGE_EVENT else events


def _error(row: Mapping[str, Any]) -> str:
    return classify(row["error_info"]) if row["error_info"] or not row["success"] else ""


def _check(totals: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], details: Path) -> None:
    told = [round(_number(totals, name)) for name in ("Success Requests", "Failed Requests")]
    succeeded = sum(row["success"] for row in rows)
    if told != [succeeded, len(rows) - succeeded]:
        raise LoadError(
            f"{details.parent} does not add up: the totals say {told[0]} completed and {told[1]} failed, "
            f"and {details.name} lists {succeeded} and {len(rows) - succeeded}"
        )


def _number(totals: Mapping[str, Any], name: str) -> float:
    """Read a total: a bare number, or a text with a unit behind it."""
    value = totals.get(name, {}).get(STAGE)
    found = NUMBER.match(str(value))
    if found is None:
        raise LoadError(f"ais_bench: the totals have no number under {name!r} for the stage {STAGE!r}, but {value!r}")
    return float(found[0])


def _duration(rows: Sequence[Mapping[str, Any]], times: Times) -> float:
    """Return the seconds from the first send to the last event of all requests."""
    points = [found for row in rows if (found := _points(row, times)).size]
    if not points:
        return 0.0
    return float(max(entry[-1] for entry in points) - min(entry[0] for entry in points))


def _notes(rows: Sequence[Mapping[str, Any]], times: Times) -> Iterator[str]:
    yield "measured by ais_bench: its clock starts before the connection; the usage event was taken off"
    if again := sum(bool(row["success"] and row["error_info"]) for row in rows):
        yield f"{again} requests were sent again after a failure: ais_bench calls them successes, here they failed"
    done = [row for row in rows if not row["error_info"]]
    if untold := sum(not row["output_tokens"] for row in done):
        yield f"ais_bench took {untold} answers for empty, for the server told no tokens: here their events count"
    if fewer := sum(_points(row, times).size - 1 < row["output_tokens"] for row in done):
        yield f"{fewer} answers have several tokens an event: the last gap may end at the event with the usage"
