"""An alarm clock for an event loop, precise to microseconds where loops count in milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["Alarm"]

ABSOLUTE = 1
"""TFD_TIMER_ABSTIME of timerfd_settime(2)."""
PARTS = 1_000_000_000
MARGIN = 0.002
"""Seconds before the moment at which a loop without precise timers wakes up; the rest it waits awake."""


class _Timer(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_seconds", "every_parts", "seconds", "parts")]


class Alarm:
    """Calls *ring* at one moment of the monotonic clock, never before it; setting it again moves it."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._moment = float("inf")
        self._loop = asyncio.get_running_loop()
        self._library, self._file = _timer_file()
        self._handle: asyncio.Handle | None = None
        if self._file >= 0:
            self._loop.add_reader(self._file, self._wake)

    def set(self, moment: float) -> None:
        """Ring at *moment*; at once where it has passed, never where it is infinite."""
        if moment == self._moment:
            return
        self._moment = moment
        if moment == float("inf"):
            return
        if self._file >= 0:
            seconds, parts = divmod(max(int(moment * PARTS), 1), PARTS)
            timer = _Timer(0, 0, seconds, parts)
            self._library.timerfd_settime(self._file, ABSOLUTE, ctypes.byref(timer), None)
            return
        if self._handle:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(moment - time.monotonic() - MARGIN, 0), self._wake)

    def close(self) -> None:
        """Never ring again."""
        self._moment = float("inf")
        if self._handle:
            self._handle.cancel()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _wake(self) -> None:
        if self._file >= 0:
            with suppress(BlockingIOError):
                os.read(self._file, 8)
        if time.monotonic() >= self._moment:
            self._moment = float("inf")
            self._ring()
        elif self._file < 0 and self._moment < float("inf"):
            self._handle = self._loop.call_soon(self._wake)
        else:
            moment, self._moment = self._moment, float("inf")
            self.set(moment)


def _timer_file() -> tuple[Any, int]:
    """Return the C library and a timer's descriptor, −1 where the system has no such timers."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        return library, int(library.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    except (OSError, AttributeError):
        return None, -1
