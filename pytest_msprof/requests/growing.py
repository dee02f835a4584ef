"""Requests that are too many to build beforehand, or that nobody can count: built ahead of need, and on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import overload

from pytest_msprof.requests.request import Request

__all__ = ["Growing"]

AHEAD = 1024
"""Requests that are there before the first is sent."""
BLOCK = 16
"""Requests built at a time after that: a fraction of a millisecond."""


class Growing(Sequence[Request]):
    """A sequence that builds what it is asked for; without a *number* it has no end: never walk to it."""

    def __init__(self, take: Callable[[int], list[Request]], number: int | None = None) -> None:
        self._take = take
        self._number = sys.maxsize if number is None else number
        self._built = take(min(AHEAD, self._number))

    @property
    def is_endless(self) -> bool:
        """Whether there is no last request."""
        return self._number == sys.maxsize

    @overload
    def __getitem__(self, place: int) -> Request: ...
    @overload
    def __getitem__(self, place: slice) -> list[Request]: ...
    def __getitem__(self, place: int | slice) -> Request | list[Request]:
        """Return a request, or several; those before them are built first."""
        wanted = range(self._number)[place]
        if isinstance(wanted, range):
            return [self[each] for each in wanted]
        while len(self._built) <= wanted:
            self._built += self._take(min(BLOCK, self._number - len(self._built)))
        return self._built[wanted]

    def __len__(self) -> int:
        """Return how many there are; without an end, a number that no load reaches."""
        return self._number
