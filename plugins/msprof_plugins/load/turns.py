"""Which request may be sent when: by its place, by its due time, or after the turn before it."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.load.exchange import NAN
from pytest_msprof.requests import Request

__all__ = ["Turns"]


class Turns:
    """The order of a load: gives each request once, as soon as it may go.

    In a closed loop whatever comes next may go at any time; else each when it is *due*, seconds
    from *begin*. A later turn of a talk may go when the answer before it was heard and thought
    about, not before its `earliest`, and never where that answer failed. After *until* nothing goes any more.
    Where there are no *talks*, no request is looked at.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        due: NDArray[np.float64] | None,
        begin: float,
        until: float = float("inf"),
        *,
        talks: bool = True,
    ) -> None:
        self._requests, self._begin, self._until, self._talks = requests, begin, until, talks
        self._openings: list[int] | None = None
        self._due: list[float] | None = None
        if due is not None:
            self._openings, self._due = _openings(due, begin)
        self._next = 0
        self._later: list[tuple[float, int]] = []
        self._size = len(requests) if self._openings is None else len(self._openings)

    @property
    def thinking(self) -> int:
        """Talks between two turns: they keep their slot."""
        return len(self._later)

    def take(self, now: float, *, may_open: bool = True) -> tuple[int, float] | None:
        """Return the number of a request that may go *now*, and when it was due (NaN: whenever); None for none.

        Without a slot for another talk (*may_open*) only a talk that is on its way goes on.
        """
        if now >= self._until:
            return None
        if self._later and self._later[0][0] <= now:
            due, number = heapq.heappop(self._later)
            return number, NAN if self._due is None else due
        if not may_open or self._next >= self._size or (self._due is not None and self._due[self._next] > now):
            return None
        if self._openings is not None and self._due is not None:
            place, self._next = self._next, self._next + 1
            return self._openings[place], self._due[place]
        number = self._next
        self._next = self._after_talk(number)
        return number, NAN

    def heard(self, number: int, now: float) -> None:
        """Let the turn after *number* come, which was answered at *now*."""
        if self.has_next_turn(number):
            turn = self._requests[number + 1]
            heapq.heappush(self._later, (max(now + turn.think_time, self._begin + turn.earliest), number + 1))

    def has_next_turn(self, number: int) -> bool:
        """Say whether the talk of request *number* goes on."""
        requests = self._requests
        return self._talks and number >= 0 and number + 1 < len(requests) and requests[number + 1].turn > 0

    def moment(self, *, may_open: bool = True) -> float:
        """Return when there will be more to take, infinity where only an answer can bring it."""
        moments = [self._later[0][0]] if self._later else []
        if may_open and self._next < self._size:
            moments.append(0.0 if self._due is None else self._due[self._next])
        return min([*moments, self._until]) if moments else float("inf")

    def is_over(self, now: float) -> bool:
        """Say whether there is nothing to take any more, unless a running talk goes on."""
        return now >= self._until or (not self._later and self._next >= self._size)

    def soon(self, moment: float) -> int:
        """Count the requests that fall due until *moment*."""
        if self._due is None:
            return sum(due <= moment for due, _ in self._later[:1])
        return bisect_right(self._due, moment, self._next) - self._next

    def _after_talk(self, number: int) -> int:
        number += 1
        while self._talks and number < self._size and self._requests[number].turn > 0:
            number += 1
        return number


def _openings(due: NDArray[np.float64], begin: float) -> tuple[list[int], list[float]]:
    """Return the requests that have a time of their own, and these times."""
    places = np.flatnonzero(~np.isnan(due))
    return places.tolist(), (due[places] + begin).tolist()
