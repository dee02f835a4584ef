"""Reading the answers while the load runs, a slice at a time, and handing the samples on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msprof_plugins.load.exchange import Exchange
from pytest_msprof.samples import Sample, Samples

__all__ = ["Collector", "Reading"]

PAUSE = 0.1
"""Seconds between two looks at what ended."""
LOOKS_A_BLOCK = 5


class Reading(NamedTuple):
    """One request, read."""

    number: int
    sample: Sample
    detail: str
    """The words of a failure, empty for a success."""
    ended: float
    """When it ended, on the clock of the sample's start."""


class Collector:
    """Takes exchanges as they end; reads them one between two turns of the event loop.

    What was read is handed to *sink* in blocks, so that a killed run keeps it.
    """

    def __init__(self, read: Callable[[Exchange], Reading], sink: Callable[[Samples], None] | None) -> None:
        self._read, self._sink = read, sink
        self._waiting: list[Exchange] = []
        self._block: list[Sample] = []
        self.readings: list[Reading] = []

    def add(self, exchange: Exchange) -> None:
        """Take an exchange that ended; costs nothing yet."""
        self._waiting.append(exchange)

    async def run(self) -> None:
        """Read and hand on until cancelled."""
        while True:
            for _look in range(LOOKS_A_BLOCK):
                await asyncio.sleep(PAUSE)
                for _ in self._read_waiting():
                    await asyncio.sleep(0)
            self._hand_on()

    def finish(self) -> None:
        """Read and hand on what is left, after the clock."""
        for _ in self._read_waiting():
            pass
        self._hand_on()

    def _read_waiting(self) -> Iterator[None]:
        waiting, self._waiting = self._waiting[::-1], []
        try:
            while waiting:
                reading = self._read(waiting.pop())
                self.readings.append(reading)
                self._block.append(reading.sample)
                yield
        finally:
            self._waiting = waiting[::-1] + self._waiting

    def _hand_on(self) -> None:
        block, self._block = self._block, []
        if block and self._sink is not None:
            self._sink(Samples.of(block))
