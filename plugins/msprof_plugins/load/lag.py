"""How late the client itself was: a load generator must be able to say when not to trust it."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from numpy.typing import NDArray

__all__ = ["LoopProbe", "notes_on_lag"]

PERIOD = 0.02
TIMER_GRAIN = 0.001
"""What the timers of an event loop may be late by themselves."""
LARGEST_DELAY = 0.005
"""Seconds by which the 99th percentile of arrival stamps may be late before a reader must know."""
LARGEST_LAG = 0.002
LARGEST_LAG_SHARE = 0.05
"""Lag of the schedule that is tolerated: this much, or this share of the mean gap."""
FEWEST = 20
"""Observations that a 99th percentile is spoken of for."""


class LoopProbe:
    """Measures by how much the event loop is late, again and again."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            asked = time.monotonic() + PERIOD
            await asyncio.sleep(PERIOD)
            self.delays.append(max(0.0, time.monotonic() - asked - TIMER_GRAIN))


def notes_on_lag(delays: NDArray[np.float64], lags: NDArray[np.float64], rate: float | None) -> tuple[str, ...]:
    """Say what a reader must know about the client's own lateness.

    *delays* are those of the event loop, shape ``(n,)``; *lags* from due to start of requests that
    had no slot to wait for, shape ``(m,)``, due at *rate* a second; empty in a closed loop.
    """
    notes = []
    if delays.size >= FEWEST and (late := float(np.percentile(delays, 99))) > LARGEST_DELAY:
        notes.append(
            f"the client was busy: its event loop was {late * 1e3:.1f} ms late at p99, "
            f"and times may be that much too long"
        )
    bound = max(LARGEST_LAG, LARGEST_LAG_SHARE / rate if rate else 0.0)
    if lags.size >= FEWEST and (late := float(np.percentile(lags, 99))) > bound:
        notes.append(
            f"the client could not keep the schedule: requests started {late * 1e3:.1f} ms late at p99 "
            f"({bound * 1e3:.1f} ms are tolerated)"
        )
    return tuple(notes)
