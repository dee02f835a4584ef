"""What the client finds out about itself: a load generator must be able to say when not to trust it."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
import time
from array import array
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.load.connection import Connection

__all__ = ["Findings", "LoopProbe", "limits", "mean_gap", "notes_on_client", "statistics"]

PERIOD = 0.02
TIMER_GRAIN = 0.001
"""What the timers of an event loop may be late by themselves."""
CONNECTIONS_LOOKED_AT = 64
FEWEST = 20
"""Observations that a 99th percentile is spoken of for."""
BUSY = 0.9
"""Share of a core from which on the client itself is what is measured."""
LARGEST_DELAY = 0.005
"""Seconds by which the event loop may be late at the 99th percentile before a reader must know."""
LARGEST_LAG = 0.002
LARGEST_LAG_SHARE = 0.05
"""Lag of the schedule that is tolerated: this much, or this share of the mean gap."""
TELLING_SHARE = 0.1
"""Share of the median time to first token from which on lateness of the client decides what is measured."""


class Findings(NamedTuple):
    """How one event loop did during a load."""

    seconds: float
    """Of the load."""
    cpu: float
    """Seconds of processor time of the thread that runs the loop."""
    delays: NDArray[np.float64]
    """By how many seconds the loop was late, again and again, shape ``(n,)``."""
    unread: NDArray[np.float64]
    """Bytes that lay unread on a sample of the connections at these moments, shape ``(n,)``."""
    backlog: int
    """Most answers that waited to be read."""
    built_late: int
    """Requests that had to be made at the moment they were sent."""

    @property
    def cpu_share(self) -> float:
        """Share of a core that the loop used."""
        return self.cpu / self.seconds if self.seconds > 0 else 0.0

    def facts(self) -> dict[str, Any]:
        """Return what is kept with the run."""
        return {
            "cpu_share": round(self.cpu_share, 4),
            "loop_delay": statistics(self.delays),
            "unread_bytes": statistics(self.unread),
            "backlog": self.backlog,
            "built_late": self.built_late,
        }


class LoopProbe:
    """Measures how late the event loop is and what it left unread, again and again."""

    def __init__(self, connections: Callable[[], Iterable[Connection]]) -> None:
        self._connections = connections
        self._delays, self._unread = array("d"), array("d")
        self._began, self._cpu = time.monotonic(), time.thread_time()

    async def run(self) -> None:
        """Measure until cancelled."""
        self._began, self._cpu = time.monotonic(), time.thread_time()
        while True:
            asked = time.monotonic() + PERIOD
            await asyncio.sleep(PERIOD)
            self._delays.append(max(0.0, time.monotonic() - asked - TIMER_GRAIN))
            self._unread.append(sum(map(_unread, islice(self._connections(), CONNECTIONS_LOOKED_AT))))

    def findings(self, *, backlog: int, built_late: int) -> Findings:
        """Return what was found; called on the thread of the loop, when the load is over."""
        seconds, cpu = time.monotonic() - self._began, time.thread_time() - self._cpu
        return Findings(seconds, cpu, np.array(self._delays), np.array(self._unread), backlog, built_late)


def _unread(connection: Connection) -> int:
    """Return the bytes that the kernel holds for a connection."""
    if (number := connection.fileno()) < 0:
        return 0
    found: tuple[int] = struct.unpack("i", fcntl.ioctl(number, termios.FIONREAD, bytes(4)))
    return found[0]


def limits(findings: Findings, lags: NDArray[np.float64], ttfts: NDArray[np.float64]) -> str:
    """Say why the client was the bottleneck, or nothing where it was not.

    *lags* are those from due to start of requests that had no slot to wait for, *ttfts* the times
    to first token, both in seconds; lateness counts where it is a good part of what was measured.
    """
    if findings.cpu_share >= BUSY and findings.delays.size >= FEWEST:
        return f"its event loop used {findings.cpu_share:.0%} of a core"
    telling = TELLING_SHARE * float(np.median(ttfts)) if ttfts.size else 0.0
    if (late := _p99(findings.delays)) > max(LARGEST_DELAY, telling):
        return f"its event loop was {late * 1e3:.1f} ms late at p99"
    if (late := _p99(lags)) > max(LARGEST_DELAY, telling):
        return f"requests started {late * 1e3:.1f} ms late at p99"
    return ""


def mean_gap(due: NDArray[np.float64]) -> float:
    """Return the mean seconds between requests that were due at these moments, 0 where there is no gap."""
    return float(np.ptp(due)) / (due.size - 1) if due.size > 1 else 0.0


def notes_on_client(findings: Findings, lags: NDArray[np.float64], gap: float) -> tuple[str, ...]:
    """Say what a reader must know about the client's own lateness; *gap* is the mean one between two requests."""
    notes = []
    if (late := _p99(findings.delays)) > LARGEST_DELAY:
        notes.append(
            f"the client was busy: its event loop was {late * 1e3:.1f} ms late at p99, and so was what followed "
            f"an answer; over TLS and unix sockets times may be that much too long"
        )
    bound = max(LARGEST_LAG, LARGEST_LAG_SHARE * gap)
    if (late := _p99(lags)) > bound:
        notes.append(
            f"the client could not keep the schedule: requests started {late * 1e3:.1f} ms late at p99 "
            f"({bound * 1e3:.1f} ms are tolerated)"
        )
    if findings.built_late:
        notes.append(f"{findings.built_late} requests were made only when they had to be sent")
    return tuple(notes)


def _p99(values: NDArray[np.float64]) -> float:
    return float(np.percentile(values, 99)) if values.size >= FEWEST else 0.0


def statistics(values: NDArray[np.float64]) -> Mapping[str, float]:
    """Return what is kept of *values*."""
    if not values.size:
        return {"n": 0}
    return {"n": values.size, "p99": float(np.percentile(values, 99)), "max": float(values.max())}
