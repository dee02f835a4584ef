"""Who works on a trial: a lease that ends with its process, so that no trial stays taken."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any

import psutil

__all__ = ["is_alive", "my_lease"]

TOKEN_BITS = 62
SAME_START = 1.0
"""Seconds within which two start times are one: the kernel counts in ticks."""


@cache
def _token() -> int:
    """Return the number that a database knows this process by."""
    return secrets.randbits(TOKEN_BITS)


def my_lease() -> dict[str, Any]:
    """Return who this process is: host, process and its start time, since numbers are reused."""
    started = psutil.Process().create_time()
    return {"host": platform.node(), "pid": os.getpid(), "started": started, "token": _token()}


def is_alive(lease: Mapping[str, Any] | None) -> bool:
    """Say whether the holder of *lease* still runs; one on another host is taken at its word."""
    if not lease:
        return False
    if lease.get("host") != platform.node():
        return True
    try:
        return bool(abs(psutil.Process(lease["pid"]).create_time() - lease["started"]) < SAME_START)
    except psutil.NoSuchProcess:
        return False
