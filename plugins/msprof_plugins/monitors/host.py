"""The monitor `host`: processor and memory of this machine, and of the engine's processes."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from pytest_msprof.monitors import Monitor, Watched

__all__ = ["HostMonitor"]

LOOK_AGAIN = 10
"""Readings after which the engine's processes are looked for again, which takes longest."""


class HostMonitor(Monitor):
    """Reads the load of the processors (1 is all of them busy) and bytes of memory.

    Of the engine's processes, where they run here, it adds the resident memory, shared pages
    counted in each.
    """

    def start(self, watched: Watched) -> bool:
        """Watch a local service only."""
        self._pid = watched.pid
        self._processes: list[psutil.Process] = []
        self._readings = 0
        psutil.cpu_percent(None)
        return watched.is_local

    def read(self) -> Mapping[str, float]:
        """Read what the kernel counts."""
        found = {"cpu": psutil.cpu_percent(None) / 100, "memory": float(psutil.virtual_memory().used)}
        if self._pid is not None:
            found["engine_memory"] = self._engine_memory(self._pid)
        return found

    def _engine_memory(self, pid: int) -> float:
        if self._readings % LOOK_AGAIN == 0:
            self._processes = _family(pid)
        self._readings += 1
        return float(sum(map(_resident, self._processes)))


def _family(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
