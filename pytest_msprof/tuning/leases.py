"""Who works on a trial: a lease that ends with its process, so that no trial stays taken."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

__all__ = ["is_alive", "is_here", "my_lease", "started"]

TOKEN_BITS = 62
START_FIELD = 19
"""Place of the start time in `/proc/<pid>/stat` behind the name: field 22 of proc(5)."""
ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
SAME_START = 1.0
"""Seconds within which two start times are one: the kernel counts in ticks."""


@cache
def _token() -> int:
    """Return the number that a database knows this process by."""
    return secrets.randbits(TOKEN_BITS)


def my_lease() -> dict[str, Any]:
    """Return who this process is: host, process and its start time, since numbers are reused."""
    return {"host": platform.node(), "pid": os.getpid(), "started": started(os.getpid()), "token": _token()}


def is_alive(lease: Mapping[str, Any] | None) -> bool:
    """Say whether the holder of *lease* still runs; one on another host is taken at its word.

    A process that ended runs no more, even while its parent has not asked how: pytest-xdist never asks.
    """
    if not lease:
        return False
    if not is_here(lease):
        return True
    try:
        is_same = abs(started(lease["pid"]) - lease["started"]) < SAME_START
        return is_same and psutil.Process(lease["pid"]).status() not in ENDED
    except psutil.NoSuchProcess:
        return False


def is_here(lease: Mapping[str, Any]) -> bool:
    """Say whether the holder of *lease* runs, or ran, on this machine."""
    return bool(lease.get("host") == platform.node())


def started(pid: int) -> float:
    """Return when a process started: seconds since the machine did, which no change of the clock moves.

    Where the kernel does not tell (other than Linux) it is a time of day.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return psutil.Process(pid).create_time()
    return int(stat.rpartition(")")[2].split()[START_FIELD]) / os.sysconf("SC_CLK_TCK")
