"""Reading recorded loads: Mooncake's JSON lines, Azure's and BurstGPT's tables."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests.recorded import Recorded, grown
from pytest_msprof.requests.recordings import Recordings
from pytest_msprof.requests.request import NOTHING
from pytest_msprof.workload_parts import Trace

__all__ = ["read_trace"]


def read_trace(trace: Trace) -> Recordings:
    """Return the requests of a trace in the order in which they came; those without an answer are left out.

    Raises `InvalidWorkload` for a file that is missing, empty or of another format, with the line.
    """
    try:
        with trace.path.open(encoding="utf-8-sig", newline="") as file:
            kind = _format_of(file.readline(), trace)
            file.seek(0)
            read = Recordings.of(row for row in _READERS[kind](file, trace.path) if _is_answered(row))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidWorkload(f"cannot read the trace {trace.path}: {error}") from None
    except OverflowError:
        raise InvalidWorkload(f"the trace {trace.path} has a block id that is not between 0 and 2**64 - 1") from None
    if not len(read):
        raise InvalidWorkload(f"the trace {trace.path} has no answered request in it")
    if np.isfinite(read.at).all():
        read = read.since_first()
    return Recordings.of(grown(read)) if kind == "burstgpt" and not read.is_plain else read


def _is_answered(row: Recorded) -> bool:
    asked = row.input_tokens > 0 or row.prompt or row.messages
    return bool(asked) and row.output_tokens != 0


def _format_of(line: str, trace: Trace) -> str:
    """Return how the file is written, by its first line where nobody said."""
    if trace.format != "auto":
        return trace.format
    names = set(line.strip().split(","))
    if line.startswith("{"):
        return "mooncake"
    for kind, needed in (("azure", AZURE), ("burstgpt", BURSTGPT)):
        if set(needed) <= names:
            return kind
    raise InvalidWorkload(
        f"{trace.path} begins with {line.strip()[:80]!r}, which is no trace of Mooncake, Azure or BurstGPT"
    )


AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
BURSTGPT = ("Timestamp", "Request tokens", "Response tokens")


PROMPTS = ("text_input", "input_text")
"""How aiperf and ais_bench call a prompt that was recorded itself."""


def _mooncake(lines: Iterable[str], path: Path) -> Iterator[Recorded]:
    """Read lines of JSON, times in milliseconds, with what aiperf adds: sessions, delays, texts, messages."""
    last: dict[str, float] = {}

    def recorded(row: Mapping[str, Any]) -> Recorded:
        session, messages = str(row.get("session_id") or ""), row.get("messages")
        prompt = next((str(row[name]) for name in PROMPTS if row.get(name)), "")
        came, delay = row.get("timestamp"), row.get("delay")
        at = last.get(session, math.nan) if came is None else float(came) / 1000
        if session:
            last[session] = at
        return Recorded(
            at,
            0 if prompt or messages else int(row["input_length"]),
            None if row.get("output_length") is None else int(row["output_length"]),
            tuple(map(int, row.get("hash_ids") or ())),
            "" if messages else session,  # its messages carry the turns before
            float(delay or 0) / 1000 if came is None else None,
            prompt,
            tuple(messages) if messages else None,
            row.get("extra") or NOTHING,
        )

    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    return _each(numbered, lambda line: recorded(json.loads(line)), path)


def _azure(lines: Iterable[str], path: Path) -> Iterator[Recorded]:
    """Read a table whose time stamps are dates with seven digits after the second."""

    def recorded(row: Mapping[str, str]) -> Recorded:
        date, _, fraction = row["TIMESTAMP"].partition(".")
        at = datetime.fromisoformat(f"{date}+00:00").timestamp() + float(f"0.{fraction.rstrip('Z') or 0}")
        return Recorded(at, int(row["ContextTokens"]), int(row["GeneratedTokens"]))

    return _each(enumerate(csv.DictReader(lines), 2), recorded, path)


def _burstgpt(lines: Iterable[str], path: Path) -> Iterator[Recorded]:
    """Read a table whose time stamps are seconds; a request that failed has no tokens in its answer.

    Newer files name the session of each conversation; its prompts hold the turns before.
    """

    def recorded(row: Mapping[str, str]) -> Recorded:
        lengths = int(row["Request tokens"]), int(row["Response tokens"])
        return Recorded(float(row["Timestamp"]), *lengths, session=row.get("Session ID") or "")

    return _each(enumerate(csv.DictReader(lines), 2), recorded, path)


def _each(numbered: Iterable[tuple[int, Any]], recorded: Callable[[Any], Recorded], path: Path) -> Iterator[Recorded]:
    for number, row in numbered:
        try:
            yield recorded(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidWorkload(
                f"{path}, line {number}: no request of a trace ({error!r}): {str(row)[:120]}"
            ) from None


_READERS = {"mooncake": _mooncake, "azure": _azure, "burstgpt": _burstgpt}
