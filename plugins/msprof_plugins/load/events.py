"""Server-sent events, each with the time at which it was complete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

__all__ = ["events"]

EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
"""A blank line, in any of the three spellings of a line's end."""


def events(times: Sequence[float], parts: Sequence[bytes]) -> Iterator[tuple[float, bytes]]:
    """Give the data of each event in a body that arrived as *parts* at *times*.

    The time of an event is that of the part that completed it, however many segments it came in.
    Comments and fields other than `data` are no events. What follows the last blank line counts
    as an event too: some servers leave out the end of the last one.
    """
    body, ends = b"".join(parts), list(accumulate(map(len, parts)))
    begin, part = 0, 0
    for stop, end in _ends_plain(body) if b"\r" not in body else _ends_mixed(body):
        while ends[part] < end:
            part += 1
        if data := _data(body[begin:stop]):
            yield times[part], data
        begin = end
    if begin < len(body) and (data := _data(body[begin:])):
        yield times[-1], data


def _ends_plain(body: bytes) -> Iterator[tuple[int, int]]:
    """Give where events stop and their blank lines end, in a body that ends lines by LF alone."""
    stop = body.find(b"\n\n")
    while stop >= 0:
        yield stop, stop + 2
        stop = body.find(b"\n\n", stop + 2)


def _ends_mixed(body: bytes) -> Iterator[tuple[int, int]]:
    """Give the same for a body with any spelling."""
    return (found.span() for found in EVENT_END.finditer(body))


def _data(block: bytes) -> bytes:
    """Join the data lines of one event."""
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    lines = (line[5:].removeprefix(b" ") for line in block.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)
