"""Requests for a load that nobody can count beforehand: built ahead of need, and on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import overload

from pytest_msprof.requests.request import Request

__all__ = ["Endless"]

AHEAD = 1024
"""Requests that are there before the first is sent."""
BLOCK = 16
"""Requests built at a time after that: a fraction of a millisecond."""


class Endless(Sequence[Request]):
    """A sequence that builds what it is asked for: index it, and never walk to its end."""

    def __init__(self, take: Callable[[int], list[Request]], ahead: int = AHEAD) -> None:
        self._take = take
        self._built = take(ahead)

    @overload
    def __getitem__(self, place: int) -> Request: ...
    @overload
    def __getitem__(self, place: slice) -> list[Request]: ...
    def __getitem__(self, place: int | slice) -> Request | list[Request]:
        """Return a request, or those up to the end that *place* has."""
        last = place.stop if isinstance(place, slice) else place + 1
        while len(self._built) < last:
            self._built += self._take(BLOCK)
        return self._built[place]

    def __len__(self) -> int:
        """Return a number that no load reaches."""
        return sys.maxsize
