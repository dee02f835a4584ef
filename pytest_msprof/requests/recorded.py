"""One request of a recorded load, and the talks that such requests make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pytest_msprof.requests.request import NOTHING

__all__ = ["Recorded", "grown", "talks_of"]


class Recorded(NamedTuple):
    """One request of a trace."""

    at: float
    """When it came; seconds since the first one, once the trace is read. NaN where the trace does not say."""
    input_tokens: int
    """Tokens of its prompt, or of what is new in a turn; 0 where the prompt itself was recorded."""
    output_tokens: int | None
    """Tokens of its answer, None where nobody said."""
    blocks: tuple[int, ...] = ()
    """Ids of the blocks of its prompt; prompts that begin with equal ids begin with equal text."""
    session: str = ""
    """Requests of one session are turns of a talk; empty is a talk of its own."""
    delay: float | None = None
    """Seconds between the answer to the turn before and this one, where the trace says it so."""
    prompt: str = ""
    messages: tuple[Mapping[str, Any], ...] | None = None
    extra: Mapping[str, Any] = NOTHING
    """Further fields of its body."""

    @property
    def has_time(self) -> bool:
        """Whether the trace says when it came."""
        return math.isfinite(self.at)


def talks_of(rows: Iterable[Recorded]) -> list[list[Recorded]]:
    """Return the turns of each session in their order; what belongs to none is a talk of its own."""
    talks: list[list[Recorded]] = []
    begun: dict[str, list[Recorded]] = {}
    for row in rows:
        if row.session and row.session in begun:
            begun[row.session].append(row)
            continue
        talks.append([row])
        if row.session:
            begun[row.session] = talks[-1]
    return talks


def grown(rows: Sequence[Recorded]) -> Iterator[Recorded]:
    """Give each turn the length of what is new in it, where its prompt was recorded with the turns before it.

    A prompt too short to hold those begins a talk of its own.
    """
    said: dict[str, tuple[int, int]] = {}
    for row in rows:
        part, before = said.get(row.session, (0, 0))
        if not row.session:
            yield row
            continue
        if before and row.input_tokens <= before:
            part, before = part + 1, 0
        said[row.session] = part, row.input_tokens + (row.output_tokens or 0)
        yield row._replace(session=f"{row.session} {part}", input_tokens=row.input_tokens - before)
