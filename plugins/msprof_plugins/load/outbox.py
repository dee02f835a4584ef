"""The bytes of each request: made before the clock runs, or ahead of need where they are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_msprof.requests import Request, Talk

__all__ = ["Outbox"]

ALL_BEFORE = 100_000
"""Requests that are all made before the clock runs."""
AHEAD = 4096
"""Requests that are kept made ahead where there are more."""


class Outbox:
    """Makes the bytes of requests with *make*; later turns of a talk carry its answers, and are made when sent."""

    def __init__(self, requests: Sequence[Request], make: Callable[[Request], bytes]) -> None:
        self._requests, self._make = requests, make
        self._made: dict[int, bytes] = {}
        self._talks: dict[int, Talk] = {}
        self._next = 0
        self._ahead = len(requests) if len(requests) <= ALL_BEFORE else AHEAD
        self._sent = 0
        self.late = 0
        """Requests that were not made when they had to be sent."""
        while self.make_one():
            pass

    def make_one(self) -> bool:
        """Make one request ahead of need; False where there is no need."""
        number = self._next
        if number >= min(self._sent + self._ahead, len(self._requests)):
            return False
        self._next += 1
        request = self._requests[number]
        if request.session < 0:
            self._made[number] = self._make(request)
        return True

    def take(self, number: int) -> bytes:
        """Return the bytes of request *number*; each is asked for once."""
        self._sent = max(self._sent, number)
        if (made := self._made.pop(number, None)) is not None:
            return made
        request = self._requests[number]
        if request.session >= 0:
            return self._make(self._talk(request).ask(request))
        self.late += 1
        self._next = max(self._next, number + 1)
        return self._make(request)

    def hear(self, number: int, answer: str) -> None:
        """Take the answer to a turn, for the turns after it."""
        self._talk(self._requests[number]).hear(answer)

    def _talk(self, request: Request) -> Talk:
        if request.turn == 0:
            self._talks[request.session] = self._talks.get(request.session) or Talk()
        return self._talks[request.session]
