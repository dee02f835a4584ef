"""Room for many connections: each is an open file, and a process may have only so many."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_msprof.errors import ConfigurationError

__all__ = ["room_for"]

MARGIN = 64
"""Files that a process opens beside connections."""


@contextmanager
def room_for(connections: int) -> Iterator[None]:
    """Let this process hold so many *connections*; its limit is what it was afterwards.

    Raises `ConfigurationError` where the system does not allow that many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + MARGIN + _open_now()
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        yield
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ConfigurationError(
            f"{connections} connections at once need {wanted} open files, but this process may have {hard}: "
            f"raise the limit (`ulimit -Hn {wanted}` as root, LimitNOFILE of a service), or ask for less concurrency"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _open_now() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return MARGIN
