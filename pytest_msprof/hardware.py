"""What this machine is: the facts that decide whether two runs may be compared."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

from pytest_msprof.results import Value

__all__ = ["device_kind", "hardware", "slot_hardware"]

QUERY_TIMEOUT = 20.0
GIB = 1 << 30
COLUMNS = ("index", "uuid", "name", "memory.total")
VISIBLE = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
"""Variables that leave an engine some of a machine's accelerators."""
MIG = re.compile(r"MIG (\S+).*UUID: (MIG-[^)]+)\)")
"""A part of a GPU in what `nvidia-smi -L` says."""


class _Accelerator(NamedTuple):
    number: str
    uuid: str
    kind: str
    """Product name, and the memory where it is known."""

    def goes_by(self, name: str) -> bool:
        """Say whether *name* is its number, or the beginning of its UUID as CUDA takes it."""
        return name == self.number or ("-" in name and self.uuid.startswith(name))


@cache
def device_kind() -> str:
    """Return the kind of device that serves: an accelerator's product name, or the processor's."""
    return _first_gpu() or _first_npu() or f"cpu: {_processor()}"


@cache
def slot_hardware(devices: tuple[str, ...] = ()) -> str:
    """Return what an engine that has *devices* for itself runs on; without, it has all that are visible.

    Accelerators with their number and memory, else the processor with the cores that this process may
    use and the machine's memory in whole GiB, which a reboot does not change. Processors know no
    devices, so one of them is as good as none.
    """
    found = _gpus() or _npus()
    names = devices or _visible(found)
    if not found or not names:
        cores, memory = hardware()["cores"], round(psutil.virtual_memory().total / GIB)
        shared = f", for {len(devices)} devices" if len(devices) > 1 else ""
        return f"cpu: {_processor()}, {cores} cores, {memory} GiB{shared}"
    kinds = Counter(_kind(name, found) for name in names)
    return " and ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items()))


@cache
def hardware() -> dict[str, Value]:
    """Return processor, cores that this process may use, memory in bytes, kernel and Python."""
    return {
        "device": device_kind(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, "") or platform.machine()


def _first_gpu() -> str:
    return _first_line(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])


def _first_npu() -> str:
    return next((npu.kind for npu in _npus()), "")


def _gpus() -> tuple[_Accelerator, ...]:
    lines = _output(["nvidia-smi", f"--query-gpu={','.join(COLUMNS)}", "--format=csv,noheader,nounits"]).splitlines()
    rows = (row for line in lines if len(row := line.split(", ")) == len(COLUMNS))
    return tuple(_Accelerator(number, uuid, name + _memory(size)) for number, uuid, name, size in rows)


def _memory(mebibytes: str) -> str:
    return f", {round(int(mebibytes) / 1024)} GiB" if mebibytes.isdecimal() else ""


def _npus() -> tuple[_Accelerator, ...]:
    rows = (line.split() for line in _output(["npu-smi", "info", "-m"]).splitlines() if "Ascend" in line)
    return tuple(_Accelerator(str(number), "", " ".join(row[-2:])) for number, row in enumerate(rows))


def _visible(found: tuple[_Accelerator, ...]) -> tuple[str, ...]:
    """Return the accelerators that an engine may take which is given none."""
    for variable in VISIBLE:
        if (given := os.environ.get(variable)) is not None:
            names = (name.strip() for name in given.split(","))
            return tuple(name for name in names if name not in ("", "-1"))
    return tuple(entry.number for entry in found)


def _kind(name: str, found: tuple[_Accelerator, ...]) -> str:
    if name.startswith("MIG-"):
        parts = {uuid: f"MIG {profile}" for profile, uuid in MIG.findall(_output(["nvidia-smi", "-L"]))}
        return f"{device_kind()}, {parts.get(name, 'MIG')}"
    return next((entry.kind for entry in found if entry.goes_by(name)), device_kind())


def _first_line(command: list[str]) -> str:
    return next(iter(_output(command).splitlines()), "").strip()


def _output(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout if found.returncode == 0 else ""
