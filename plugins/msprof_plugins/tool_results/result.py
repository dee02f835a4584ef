"""What another load generator left behind, in our words and units."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pytest_msprof.errors import LoadError
from pytest_msprof.redaction import redact
from pytest_msprof.results import Distribution, Measurement, Value

__all__ = [
    "NAN",
    "NothingSucceeded",
    "ToolResult",
    "classify",
    "distribution",
    "last_line",
    "load_json",
    "load_json_lines",
    "of_figures",
]

NAN = float("nan")
PHRASES = {status.phrase: status.value for status in HTTPStatus}
STATUS = re.compile(r"(?:^HTTP |(?:Client|Server) error ')(\d{3}) ")
CLASSES = (
    ("timeout", re.compile(r"Timeout|timed out", re.IGNORECASE)),
    (
        "connect",
        re.compile(r"Cannot connect|ClientConnectorError|Connection ?Refused|ConnectError|connection attempts"),
    ),
    ("empty", re.compile(r"Never received a valid chunk")),
    ("cancelled", re.compile(r"Cancel", re.IGNORECASE)),
)


class NothingSucceeded(LoadError):
    """Every request failed; some tools leave a result that says so, and some end with an error."""

    def __init__(self, tool: str, sent: int, first_error: str) -> None:
        super().__init__(f"{tool}: none of {sent} requests succeeded; the first: {redact(first_error)}")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """One run of another load generator."""

    tool: str
    measurement: Measurement
    """By our definitions where the tool keeps its requests, else the tool's own figures; the notes say which."""
    window: float
    """Seconds that the tool's own rates are over."""
    first_error: str = ""
    """Last line of the first failure, empty where none failed or the tool keeps no text."""
    load: Mapping[str, Value] = field(default_factory=dict)
    """What the file says of the load: `model`, `concurrency`, `request_rate`, `num_requests`; None is unlimited."""

    def accounted(self, sent: int) -> Measurement:
        """Return the measurement when it accounts for *sent* requests and one of them succeeded.

        Raises `LoadError` otherwise: exit code 0 and a file are no proof with any of these tools.
        """
        found = self.measurement
        if found.completed + found.failed != sent:
            raise LoadError(
                f"{self.tool} does not add up: {sent} requests were asked for, but its result accounts for "
                f"{found.completed} completed and {found.failed} failed"
            )
        if not found.completed:
            raise NothingSucceeded(self.tool, sent, self.first_error)
        return found

    def with_notes(self, *notes: str) -> ToolResult:
        """Return the same result with more to say."""
        return replace(self, measurement=replace(self.measurement, notes=(*self.measurement.notes, *notes)))


def of_figures(
    tool: str,
    *,
    duration: float,
    completed: int,
    failed: int,
    metrics: Mapping[str, float | None],
    distributions: Mapping[str, Distribution | None],
    load: Mapping[str, Value],
    errors: Mapping[str, int] | None = None,
) -> ToolResult:
    """Return the result of a tool that keeps no requests; figures that are None do not exist."""
    sent = completed + failed
    rates = {"success_rate": completed / sent} if sent else {}
    measurement = Measurement(
        duration=duration,
        completed=completed,
        failed=failed,
        metrics={**rates, **{name: value for name, value in metrics.items() if value is not None}},
        distributions={name: value for name, value in distributions.items() if value is not None},
        errors=errors or ({"unknown": failed} if failed else {}),
        notes=(f"the figures are {tool}'s own, by its definitions: it keeps no requests",),
    )
    return ToolResult(tool, measurement, duration, load=load)


def distribution(
    found: Mapping[str, Any] | None, names: Mapping[str, str], *, unit: float = 1.0, n: int | None = None
) -> Distribution | None:
    """Translate a tool's statistics: *names* are ours by theirs, one of theirs is *unit* of ours."""
    if not found or n == 0:
        return None
    told = {ours: float(found[theirs]) * unit for theirs, ours in names.items() if found.get(theirs) is not None}
    return Distribution({**({} if n is None else {"n": float(n)}), **told}) if told else None


def classify(error: str) -> str:
    """Name the class of a failure: a tool gives an HTTP phrase, a client's message or a traceback.

    Only the end of a traceback says what happened: timeouts stand in the middle of most.
    """
    if status := PHRASES.get(error.strip().partition(":")[0]):
        return f"status {status}"
    if found := STATUS.search(error):
        return f"status {found[1]}"
    return next((name for name, pattern in CLASSES if pattern.search(last_line(error))), "stream")


def last_line(text: str) -> str:
    """Return what a traceback says at its end."""
    return text.strip().rpartition("\n")[2]


def load_json_lines(path: Path, tool: str) -> list[dict[str, Any]]:
    """Read one JSON object a line; raises `LoadError` when the file is missing, or a line is no JSON."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError:
        raise LoadError(f"{tool} wrote no result: {path} is missing") from None
    except ValueError as error:
        raise LoadError(f"{tool} wrote a broken line to {path}: {error}") from None


def load_json(path: Path, tool: str, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read one JSON object that has the keys *needed*.

    Raises `LoadError` when the file is missing, is no such object, or lacks a key.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoadError(f"{tool} wrote no result: {path} is missing") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{tool} wrote no JSON object to {path}: {error}") from None
    if not isinstance(found, dict):
        raise LoadError(f"{tool} wrote no JSON object to {path}")
    if missing := [name for name in needed if name not in found]:
        raise LoadError(f"{path} is no result of {tool}: it lacks {', '.join(missing)}")
    return found
