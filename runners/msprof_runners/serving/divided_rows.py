"""The batch of a served model that is divided over processes: each of them has it, and all do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Generic, TypeVar

from msprof_runners.serving.rows import Request

__all__ = ["DividedRows"]

Owner = TypeVar("Owner")


class DividedRows(Generic[Owner]):
    """`Rows` in other processes, which know whose requests they are by number.

    *call* calls a method of the runner in all of them, and returns what it gives in the first.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call, self._next = call, count()
        self._owners: dict[int, Owner] = {}

    @property
    def owners(self) -> list[Owner]:
        """Whose requests are here."""
        return list(self._owners.values())

    def clear(self) -> None:
        """Let everything go."""
        self._owners = {}
        self._call("rows.clear")

    def join(self, requests: Mapping[Owner, Request]) -> dict[Owner, int]:
        """Take in requests, and return the first token of each."""
        new = {next(self._next): owner for owner in requests}
        made = self._call("rows.join", {number: requests[owner] for number, owner in new.items()})
        self._owners |= new
        return self._named(made)

    def step(self, *, warm_up: bool = False) -> dict[Owner, int]:
        """Make one token for each request and return them."""
        return self._named(self._call("rows.step", warm_up=warm_up))

    def leave(self, gone: set[Owner]) -> None:
        """Let the requests of *gone* go."""
        if numbers := {number for number, owner in self._owners.items() if owner in gone}:
            self._call("rows.leave", numbers)
            self._owners = {number: owner for number, owner in self._owners.items() if number not in numbers}

    def _named(self, made: Mapping[int, int]) -> dict[Owner, int]:
        return {self._owners[number]: token for number, token in made.items()}
