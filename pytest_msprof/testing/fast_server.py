"""A server of exactly known timing that is faster than any load generator, to measure load generators with."""

from __future__ import annotations

import re

from pytest_msprof.testing import fast_server_main
from pytest_msprof.testing.fake_engine import FakeEngine, program_command

__all__ = ["fast_server"]

LISTENING_AT_PATH = re.compile(r"^listening on (/\S+)$", re.MULTILINE)


class fast_server(FakeEngine):  # noqa: N801 - used like a function
    """Streams completions and chats, token *i* at arrival + *ttft* + *i* · *itl*, lateness some ten microseconds.

    Where tokens share a moment they are one write: with no *itl* it sends millions of them a second.
    It has no faults; `FakeEngine` has. With *record* it tells by `answers` what it really sent;
    *options* are those of the program, such as `host="::1"` or `unix="/tmp/socket"`.
    """

    def __init__(self, *, ttft: float = 0.05, itl: float = 0.01, record: bool = False, **options: object) -> None:
        super().__init__(ttft=ttft, itl=itl, record=record, **options)

    def _command(self) -> list[str]:
        return program_command(fast_server_main.__file__, **self.behaviour)

    def _is_listening(self) -> bool:
        if not self.behaviour.get("unix"):
            return super()._is_listening()
        found = LISTENING_AT_PATH.search(self.process.log_tail())
        if found:
            self.base_url = f"unix://{found[1]}"
        return found is not None
