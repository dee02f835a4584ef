"""Reading what `vllm bench serve` wrote, as it was meant."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from pytest_msprof.errors import LoadError
from pytest_msprof.samples import Sample, Samples

__all__ = ["VllmResult", "read_result"]

NAN = float("nan")
LISTS = ("ttfts", "itls", "latencies", "start_times", "input_lens", "output_lens", "errors")
PHRASES = {status.phrase: status.value for status in HTTPStatus}
CLASSES = (
    ("timeout", re.compile(r"TimeoutError")),
    ("connect", re.compile(r"Cannot connect|ClientConnectorError|ConnectionRefusedError")),
    ("empty", re.compile(r"Never received a valid chunk")),
)


class VllmResult(NamedTuple):
    """The requests of one run of the tool."""

    duration: float
    samples: Samples
    first_error: str
    """Last line of the first failure, empty where none failed."""
    role_events: int
    """Chat answers whose times were moved from the role event to the first one with content."""


def read_result(path: Path, *, sent: int) -> VllmResult:
    """Read a detailed result file of *sent* requests.

    Raises `LoadError` when the file is missing, was written without details, accounts for another
    number of requests, or has no success: the tool itself ends with exit code 0 then.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoadError(f"vllm bench wrote no result: {path} is missing") from None
    except ValueError as error:
        raise LoadError(f"vllm bench wrote no JSON object to {path}: {error}") from None
    _check(found, path, sent)
    samples, moved = _samples(found)
    first = next((text for text in found["errors"] if text), "")
    if not samples.ok.any():
        raise LoadError(f"vllm bench: none of {sent} requests succeeded; the first: {_last_line(first)}")
    return VllmResult(found["duration"], samples, _last_line(first), moved)


def _check(found: Any, path: Path, sent: int) -> None:
    if not isinstance(found, Mapping):
        raise LoadError(f"vllm bench wrote no JSON object to {path}")
    if missing := [name for name in ("completed", "failed", "duration", *LISTS) if name not in found]:
        raise LoadError(f"{path} lacks {', '.join(missing)}: was it written with --save-detailed?")
    completed, failed = found["completed"], found["failed"]
    rows = {name: len(found[name]) for name in LISTS}
    succeeded = sum(error == "" for error in found["errors"])
    if completed + failed != sent or set(rows.values()) != {sent} or succeeded != completed:
        raise LoadError(
            f"{path} does not add up: {sent} requests were asked for, it says {completed} completed and "
            f"{failed} failed, and lists {succeeded} without an error among {max(rows.values())}"
        )


def _samples(found: Mapping[str, Any]) -> tuple[Samples, int]:
    """Turn the lists into samples; a failed request has zeros there, which are no measurements."""
    is_open_loop = found.get("request_rate") not in ("inf", None)
    is_chat = "chat" in str(found.get("backend", ""))
    waits = found.get("queue_times") or [0.0] * len(found["errors"])
    begin = min(found["start_times"])
    samples, moved = [], 0
    for index, error in enumerate(found["errors"]):
        ttft, gaps, tokens = found["ttfts"][index], found["itls"][index], found["output_lens"][index]
        if is_chat and not error and gaps and len(gaps) == tokens:
            ttft, gaps, moved = ttft + gaps[0], gaps[1:], moved + 1
        start = found["start_times"][index] - begin
        samples.append(
            Sample(
                due=start - waits[index] if is_open_loop else start,
                start=start,
                ttft=ttft or NAN,
                latency=NAN if error else found["latencies"][index],
                input_tokens=found["input_lens"][index],
                output_tokens=-1 if error else tokens,
                gaps=tuple(gaps),
                token_source="" if error else "usage",
                error=_classify(error) if error else "",
            )
        )
    return Samples.of(samples), moved


def _classify(error: str) -> str:
    """Name the class of a failure: the tool gives an HTTP phrase or a traceback."""
    if status := PHRASES.get(error.strip()):
        return f"status {status}"
    return next((name for name, pattern in CLASSES if pattern.search(error)), "stream")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
