"""Requests that are too many to keep, or that nobody can count: built ahead of need, and forgotten behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.requests.request import Request

__all__ = ["Growing", "Take", "output_tokens"]

Take = Callable[[int], list[Request]]
"""Gives the next requests, so many."""
AHEAD = 1024
"""Requests that are there before the first is sent."""
BLOCK = 16
"""Requests built at a time after that: a fraction of a millisecond."""
KEPT = 8192
"""Requests that are kept behind the last one that was built, at least."""


class Growing(Sequence[Request]):
    """A sequence that builds what it is asked for; without a *number* it has no end: never walk to it.

    *begin* starts it anew: what was forgotten is built again, from the first one on. *lengths* gives
    the output tokens of the first so many, which takes no text.
    """

    def __init__(
        self, begin: Callable[[], Take], lengths: Callable[[int], Sequence[int]], number: int | None = None
    ) -> None:
        self._begin, self._lengths = begin, lengths
        self._number = sys.maxsize if number is None else number
        self._restart()

    @property
    def is_endless(self) -> bool:
        """Whether there is no last request."""
        return self._number == sys.maxsize

    def output_tokens(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens that these requests want in their answers."""
        most = int(numbers.max()) + 1 if numbers.size else 0
        return np.asarray(self._lengths(most), np.int64)[numbers]

    @overload
    def __getitem__(self, place: int) -> Request: ...
    @overload
    def __getitem__(self, place: slice) -> list[Request]: ...
    def __getitem__(self, place: int | slice) -> Request | list[Request]:
        """Return a request, or several; those before them are built first."""
        wanted = range(self._number)[place]
        if isinstance(wanted, range):
            return [self[each] for each in wanted]
        if wanted < self._first:
            self._restart()
        while self._first + len(self._built) <= wanted:
            self._grow(min(BLOCK, self._number - self._first - len(self._built)))
        return self._built[wanted - self._first]

    def __len__(self) -> int:
        """Return how many there are; without an end, a number that no load reaches."""
        return self._number

    def _restart(self) -> None:
        self._take, self._first = self._begin(), 0
        self._built = self._take(min(AHEAD, self._number))

    def _grow(self, number: int) -> None:
        self._built += self._take(number)
        if len(self._built) > 2 * KEPT:
            self._first += KEPT
            del self._built[:KEPT]


def output_tokens(requests: Sequence[Request], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tokens that requests want in their answers; very many are not built for it."""
    if isinstance(requests, Growing):
        return requests.output_tokens(numbers)
    return np.array([requests[number].output_tokens for number in numbers.tolist()], np.int64)
