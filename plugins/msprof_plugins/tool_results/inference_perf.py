"""Reading the reports of inference-perf, and its requests where it kept them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msprof_plugins.tool_results.result import ToolResult, classify, distribution, last_line, load_json, of_figures
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.results import Value
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

REQUESTS = "per_request_lifecycle_metrics.json"
SUMMARY = "summary_lifecycle_metrics.json"
DISTRIBUTIONS = {
    "ttft": "time_to_first_token",
    "tpot": "time_per_output_token",
    "itl": "inter_token_latency",
    "latency": "request_latency",
}
STATISTICS = {"mean": "mean", "min": "min", "max": "max", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
HTTP_ERROR = re.compile(r"^HTTP Error (\d{3})\b")
STATUS = re.compile(r"^(\d{3})\b")


def read(path: Path) -> ToolResult:
    """Read a folder by its requests where they were kept, else by its summary; or the report of one stage.

    Times are seconds already. Raises `LoadError` when a file is missing, is no such report, or the
    requests are not those of the summary.
    """
    requests = path / REQUESTS if path.is_dir() else None
    path = path / SUMMARY if path.is_dir() else path
    told = load_json(path, "inference-perf", ("load_summary", "successes", "failures"))
    good, bad, load = told["successes"], told["failures"], told["load_summary"]
    completed = good["count"]
    shape: dict[str, Value] = {
        "model": None,
        "concurrency": load.get("concurrency"),
        "request_rate": None if load.get("concurrency") else load.get("requested_rate"),
        "num_requests": completed + bad["count"],
    }
    if requests is not None and requests.exists():
        return _of_requests(requests, completed, bad["count"], shape)
    rates, latency = good.get("throughput") or {}, good.get("latency") or {}
    return of_figures(
        "inference-perf",
        duration=told.get("benchmark_time_seconds") or 0.0,
        completed=completed,
        failed=bad["count"],
        metrics={
            "request_throughput": rates.get("requests_per_sec"),
            "output_throughput": rates.get("output_tokens_per_sec"),
        }
        if completed
        else {},
        distributions={ours: distribution(latency.get(theirs), STATISTICS) for ours, theirs in DISTRIBUTIONS.items()},
        load=shape,
        errors=_errors(bad.get("by_label") or {}),
    )


def _of_requests(path: Path, completed: int, failed: int, load: Mapping[str, Value]) -> ToolResult:
    try:
        rows = sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda row: row["start_time"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LoadError(f"inference-perf: the requests in {path} cannot be read: {error}") from None
    listed = sum(row["error"] is None for row in rows)
    if [listed, len(rows) - listed] != [completed, failed]:
        raise LoadError(
            f"{path.parent} does not add up: the summary says {completed} completed and {failed} failed, and "
            f"{path.name} lists {listed} and {len(rows) - listed}"
        )
    window = max((row["end_time"] for row in rows), default=0.0) - min((row["start_time"] for row in rows), default=0.0)
    samples = Samples.of(list(_samples(rows)))
    return ToolResult(
        "inference-perf",
        measure(samples, window, notes=tuple(_notes(rows))),
        window,
        first_error=next((_error(row["error"])[1] for row in rows if row["error"]), ""),
        load=load,
    )


def _samples(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    """Turn rows into samples by the events, not by the tokens that the tool makes of each."""
    begin = rows[0]["start_time"] if rows else 0.0
    for row in rows:
        start, answer = row["start_time"], row["info"]["response_metrics"] or {}
        moments = np.array(answer.get("chunk_times") or ()) - start
        error = _error(row["error"])[0] if row["error"] else "" if moments.size else "empty"
        usage = answer.get("server_usage") or {}
        told = usage.get("completion_tokens")
        if error:
            yield Sample(due=start - begin, start=start - begin, error=error)
            continue
        yield Sample(
            due=start - begin,
            start=start - begin,
            ttft=float(moments[0]),
            latency=float(moments[-1]),
            closed=row["end_time"] - start,
            input_tokens=usage.get("prompt_tokens", -1),
            output_tokens=answer["output_tokens"] if told is None else told,
            gaps=tuple(np.diff(moments).tolist()),
            token_source="tokenizer" if told is None else "usage",
        )


def _error(told: Mapping[str, str]) -> tuple[str, str]:
    """Return class and words of a failure, of a type like `HTTP Error 500` and a message."""
    kind, message = told["error_type"], told["error_msg"].replace("\0", "")
    status = HTTP_ERROR.match(kind)
    words = last_line(f"{kind}: {message}")
    return (f"status {status[1]}" if status else classify(words)), words


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "measured by inference-perf: its clock starts before the connection"
    answers = [row["info"]["response_metrics"] for row in rows if row["info"]["response_metrics"]]
    told = [
        ((answer.get("server_usage") or {}).get("completion_tokens"), answer["output_tokens"]) for answer in answers
    ]
    if others := sum(server is not None and server != own for server, own in told):
        yield f"inference-perf counted other tokens than the server in {others} answers: those of the server were taken"


def _errors(labels: Mapping[str, Any]) -> dict[str, int]:
    """Return the failures by our classes; labels look like `500 - Internal Server Error`."""
    found: dict[str, int] = {}
    for label, entry in labels.items():
        status = STATUS.match(label)
        name = f"status {status[1]}" if status else classify(label)
        found[name] = found.get(name, 0) + entry["count"]
    return found
