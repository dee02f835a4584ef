"""Watching beside a load: each monitor reads in a thread of its own, and none can stop the load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from pytest_msprof.monitors import Monitor, Watched
from pytest_msprof.series import Series

__all__ = ["Watch", "watching"]

PATIENCE = 5.0
"""Seconds that a reading may take after the load has ended."""
Result = TypeVar("Result")
Reading = tuple[float, Mapping[str, float]]


class Watch:
    """What one monitor saw."""

    def __init__(self, name: str, monitor: Monitor, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.monitor = name, monitor
        self._clock = clock
        self.readings: list[Reading] = []
        self.failure = ""
        """Why it stopped watching, empty where it did not."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"msprof-monitor-{name}", daemon=True)

    def begin(self) -> None:
        """Read once, and from then on beside the caller."""
        self._read()
        if not self.failure:
            self._thread.start()

    def end(self) -> None:
        """Read a last time and stop; a reading that does not end is left behind."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._read()
            self._guarded(self.monitor.stop)

    def starts(self, watched: Watched) -> bool:
        """Make the monitor ready; one that fails is kept, for its failure to be told."""
        return self._guarded(lambda: self.monitor.start(watched)) is not False

    def _run(self) -> None:
        while not self.failure and not self._ended.wait(self.monitor.period):
            self._read()

    def _read(self) -> None:
        """Take one reading; a monitor that failed is asked no more."""
        if not self.failure and (found := self._guarded(self.monitor.read)) is not None:
            self.readings.append((self._clock(), dict(found)))

    def _guarded(self, call: Callable[[], Result]) -> Result | None:
        """Call the monitor: whatever it raises must not end the load."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - a stranger's monitor may raise anything
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            return None

    def rises(self) -> dict[str, float]:
        """Return by how much each counter rose; one that fell was reset, and says nothing."""
        if not self.readings:
            return {}
        (_, first), (_, last) = self.readings[0], self.readings[-1]
        names = self.monitor.counters & first.keys() & last.keys()
        return {name: last[name] - first[name] for name in sorted(names) if last[name] >= first[name]}

    def series(self, begin: float) -> Iterator[tuple[str, Series]]:
        """Yield what was read by name, times counting from *begin*; counters become rates a second."""
        for name in dict.fromkeys(name for _, found in self.readings for name in found):
            seen = [(moment - begin, found[name]) for moment, found in self.readings if name in found]
            times, values = (np.array(column, np.float64) for column in zip(*seen, strict=True))
            if name in self.monitor.counters:
                times, values = times[1:], np.diff(values) / np.diff(times)
            if times.size:
                yield f"{self.name}.{name}", Series(times, values)


@contextmanager
def watching(monitors: Mapping[str, Monitor], watched: Watched) -> Iterator[list[Watch]]:
    """Let *monitors* watch while the block runs; give what each of those saw that found something to watch."""
    watches = [Watch(name, monitor) for name, monitor in monitors.items()]
    ready = [watch for watch in watches if watch.starts(watched)]
    for watch in ready:
        watch.begin()
    try:
        yield ready
    finally:
        for watch in ready:
            watch.end()
