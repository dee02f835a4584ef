"""Reading recorded loads: Mooncake's JSON lines, Azure's and BurstGPT's tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.workload_parts import Trace

__all__ = ["Recorded", "read_trace"]


class Recorded(NamedTuple):
    """One request of a trace."""

    at: float
    """When it came; seconds since the first one, once the trace is read."""
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    """Ids of the blocks of its prompt; prompts that begin with equal ids begin with equal text."""


def read_trace(trace: Trace) -> list[Recorded]:
    """Return the requests of a trace in the order in which they came; those without an answer are left out.

    Raises `InvalidWorkload` for a file that is missing, empty or of another format, with the line.
    """
    try:
        with trace.path.open(encoding="utf-8-sig", newline="") as file:
            kind = _format_of(file.readline(), trace)
            file.seek(0)
            read = [row for row in _READERS[kind](file, trace.path) if row.input_tokens > 0 and row.output_tokens > 0]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidWorkload(f"cannot read the trace {trace.path}: {error}") from None
    if not read:
        raise InvalidWorkload(f"the trace {trace.path} has no answered request in it")
    read.sort(key=attrgetter("at"))
    return [row._replace(at=row.at - read[0].at) for row in read]


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


def _mooncake(lines: Iterable[str], path: Path) -> Iterator[Recorded]:
    """Read lines of JSON; time stamps are milliseconds."""

    def recorded(row: Mapping[str, Any]) -> Recorded:
        lengths = int(row["input_length"]), int(row["output_length"])
        return Recorded(float(row["timestamp"]) / 1000, *lengths, tuple(map(int, row.get("hash_ids") or ())))

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
    """Read a table whose time stamps are seconds; a request that failed has no tokens in its answer."""

    def recorded(row: Mapping[str, str]) -> Recorded:
        return Recorded(float(row["Timestamp"]), int(row["Request tokens"]), int(row["Response tokens"]))

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
