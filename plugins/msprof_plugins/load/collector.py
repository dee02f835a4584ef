"""Reading the answers while the load runs, a slice at a time, and handing the samples on."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.load.exchange import Exchange
from pytest_msprof.samples import Sample, SampleBuffer, Samples

__all__ = ["SLICE", "Collector", "Failure", "Reading"]

PAUSE = 0.05
"""Seconds between two looks at what ended."""
LOOKS_A_BLOCK = 10
SLICE = 0.0005
"""Seconds of reading between two turns of the event loop."""
LATE_ANSWERS = 2048
"""Answers that the momentary figures are of."""


class Reading(NamedTuple):
    """One request, read."""

    sample: Sample
    detail: str
    """The words of a failure, empty for a success."""
    ended: float
    """When it ended, on the clock of the sample's start."""


class Failure(NamedTuple):
    """A request that failed, in words that may be shown."""

    ended: float
    error: str
    detail: str

    def __str__(self) -> str:
        return f"{self.error}: {self.detail}" if self.detail else self.error


class Collector:
    """Takes exchanges as they end; reads them between the turns of the event loop.

    What was read is handed to *sink* in blocks, so that a killed run keeps it.
    """

    def __init__(self, read: Callable[[Exchange], Reading], sink: Callable[[Samples], None] | None) -> None:
        self._read, self._sink = read, sink
        self._waiting: deque[Exchange] = deque()
        self._buffer = SampleBuffer()
        self._blocks: list[Samples] = []
        self._numbers = array("q")
        self.errors: Counter[str] = Counter()
        self.first_failure: Failure | None = None
        self.completed = self.output_tokens = 0
        self.last_end = 0.0
        """When the last request ended."""
        self.late_ttfts: deque[float] = deque(maxlen=LATE_ANSWERS)
        self.backlog = 0
        """Most answers that waited to be read."""

    def add(self, exchange: Exchange) -> None:
        """Take an exchange that ended; costs nothing yet."""
        self._waiting.append(exchange)

    async def run(self) -> None:
        """Read and hand on until cancelled."""
        while True:
            for _look in range(LOOKS_A_BLOCK):
                await asyncio.sleep(PAUSE)
                self.backlog = max(self.backlog, len(self._waiting))
                while self._waiting:
                    self._read_for(SLICE)
                    await asyncio.sleep(0)
            self._hand_on()

    def finish(self) -> None:
        """Read and hand on what is left, after the clock."""
        while self._waiting:
            self._read_for(1.0)
        self._hand_on()

    def samples(self) -> tuple[Samples, NDArray[np.int64]]:
        """Return all requests in the order of their numbers, and these; only once."""
        blocks, self._blocks = self._blocks, []
        found = Samples.concatenate(blocks)
        blocks.clear()
        numbers = np.array(self._numbers, np.int64)
        if np.all(np.diff(numbers) > 0):
            return found, numbers
        order = np.argsort(numbers)
        return found.take(order), numbers[order]

    def _read_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._waiting and time.monotonic() < end:
            exchange = self._waiting[0]
            self._account(exchange.number, self._read(exchange))
            self._waiting.popleft()

    def _account(self, number: int, reading: Reading) -> None:
        sample = reading.sample
        self._buffer.add(sample)
        self._numbers.append(number)
        self.last_end = max(self.last_end, reading.ended)
        if not sample.error:
            self.completed += 1
            self.output_tokens += max(sample.output_tokens, 0)
            self.late_ttfts.append(sample.ttft)
            return
        self.errors[sample.error] += 1
        if self.first_failure is None or reading.ended < self.first_failure.ended:
            self.first_failure = Failure(reading.ended, sample.error, reading.detail)

    def _hand_on(self) -> None:
        if not len(self._buffer):
            return
        block = self._buffer.take()
        self._blocks.append(block)
        if self._sink is not None:
            self._sink(block)
