"""The monitor `nvml`: power, memory and utilisation of NVIDIA devices, from the driver's own library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_msprof.monitors import Monitor, Watched

__all__ = ["LIBRARY", "NvmlMonitor"]

LIBRARY = "libnvidia-ml.so.1"
MILLI, PERCENT = 1e-3, 1e-2


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class NvmlMonitor(Monitor):
    """Reads `gpu0.power` (W), `gpu0.memory` (bytes) and `gpu0.utilization` (share of time), device by device.

    Every device of the machine is read, whoever uses it. What a device cannot tell is left out.
    """

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._load = load

    def start(self, watched: Watched) -> bool:
        """Open the library; without a driver, or for a service elsewhere, there is nothing to watch."""
        if not watched.is_local:
            return False
        try:
            self._library = self._load(LIBRARY)
        except OSError:
            return False
        if self._library.nvmlInit_v2() != 0:
            return False
        self._devices = list(self._handles())
        return bool(self._devices)

    def read(self) -> Mapping[str, float]:
        """Ask each device."""
        return {
            f"gpu{index}.{name}": value
            for index, device in self._devices
            for name, value in (*self._power(device), *self._memory(device), *self._utilization(device))
        }

    def stop(self) -> None:
        """Close the library."""
        self._library.nvmlShutdown()

    def _handles(self) -> Iterator[tuple[int, ctypes.c_void_p]]:
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return
        for index in range(count.value):
            handle = ctypes.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0:
                yield index, handle

    def _power(self, device: ctypes.c_void_p) -> Iterator[tuple[str, float]]:
        milliwatts = ctypes.c_uint()
        if self._library.nvmlDeviceGetPowerUsage(device, ctypes.byref(milliwatts)) == 0:
            yield "power", milliwatts.value * MILLI

    def _memory(self, device: ctypes.c_void_p) -> Iterator[tuple[str, float]]:
        memory = _Memory()
        if self._library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0:
            yield "memory", float(memory.used)

    def _utilization(self, device: ctypes.c_void_p) -> Iterator[tuple[str, float]]:
        found = _Utilization()
        if self._library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(found)) == 0:
            yield "utilization", found.gpu * PERCENT
