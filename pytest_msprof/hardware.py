"""What this machine is: the facts that decide whether two runs may be compared."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import psutil

from pytest_msprof.results import Value

__all__ = ["device_kind", "hardware"]

QUERY_TIMEOUT = 20.0


@cache
def device_kind() -> str:
    """Return the kind of device that serves: an accelerator's product name, or the processor's."""
    return _first_gpu() or _first_npu() or f"cpu: {_processor()}"


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
    names = _output(["npu-smi", "info", "-m"]).splitlines()
    chips = (line.split()[-2:] for line in names if "Ascend" in line)
    return next((" ".join(chip) for chip in chips), "")


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
