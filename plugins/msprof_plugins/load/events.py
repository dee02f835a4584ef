"""Server-sent events: where each one ends, and what its data is."""

from __future__ import annotations

import re

__all__ = ["data_of", "next_event"]

BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
"""A blank line, in any of the three spellings of a line's end."""


def next_event(stream: bytes, begin: int) -> tuple[int, int] | None:
    """Return where the event at *begin* stops and where the next one begins, None while it is not whole."""
    stop = stream.find(b"\n\n", begin)
    if b"\r" not in stream:
        return (stop, stop + 2) if stop >= 0 else None
    found = BLANK_LINE.search(stream, begin)
    return found.span() if found else None


def data_of(event: bytes) -> bytes:
    """Join the data lines of one event; comments and other fields are no data."""
    if event.startswith(b"data: ") and b"\n" not in event and b"\r" not in event:
        return event[6:]
    lines = (line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)
