"""Which stream of requests: a seed, and the repeat and load step that make its text new."""

from __future__ import annotations

from typing import NamedTuple

from pytest_msprof.ids import digest

__all__ = ["Stream"]


class Stream(NamedTuple):
    """The coordinates of one request stream; everything drawn for it depends on them and a name."""

    seed: int
    repeat: int = 0
    step: int = 0

    def key(self, name: str, *more: object) -> str:
        """Return the key of the numbers called *name*."""
        return digest([name, self.seed, self.repeat, self.step, *more])
