"""Who works on a trial: a lease that ends with its process, so that no trial stays taken."""

from __future__ import annotations

import os
import platform
from typing import Any

import psutil

__all__ = ["is_alive", "is_another", "my_lease"]

SAME_START = 1.0
"""Seconds within which two start times are one: the kernel counts in ticks."""


def my_lease() -> dict[str, Any]:
    """Return who this process is: host, process and its start time, since numbers are reused."""
    return {"host": platform.node(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_another(lease: dict[str, Any] | None) -> bool:
    """Say whether *lease* belongs to a process that runs and is not this one."""
    return is_alive(lease) and lease != my_lease()


def is_alive(lease: dict[str, Any] | None) -> bool:
    """Say whether the holder of *lease* still runs; one on another host is taken at its word."""
    if not lease:
        return False
    if lease.get("host") != platform.node():
        return True
    try:
        return bool(abs(psutil.Process(lease["pid"]).create_time() - lease["started"]) < SAME_START)
    except psutil.NoSuchProcess:
        return False
