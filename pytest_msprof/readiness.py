"""Waiting until a service answers, or knowing at once that it never will."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_msprof.errors import ServiceExited, ServiceNotReady
from pytest_msprof.failures import DOES_NOT_START, TIMEOUT, classify, root_cause

if TYPE_CHECKING:
    from pytest_msprof.interfaces import ProcessHandle

__all__ = ["wait_until_ready"]

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5


def wait_until_ready(
    process: ProcessHandle,
    probe: Callable[[], bool],
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Return the seconds until *probe* first says yes.

    Between two probes it waits on the process, not on the clock, so an engine that dies is
    noticed when it dies.

    Raises `ServiceExited` with the end of the log when the process ends first, and
    `ServiceNotReady` when *timeout* seconds have passed.
    """
    started, pause = clock(), FIRST_PAUSE
    while not probe():
        left = started + timeout - clock()
        if left <= 0:
            raise _hanging(process, timeout)
        if process.wait(min(pause, left)):
            raise ServiceExited.from_process(process)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return clock() - started


def _hanging(process: ProcessHandle, timeout: float) -> ServiceNotReady:
    """Describe a process that neither answers nor ends; some engines fail so, and only say why."""
    message = f"{process.name} did not answer within {timeout:g} s, and still runs"
    tail = process.log_tail()
    failure = classify(tail, None)
    if failure == DOES_NOT_START:
        return ServiceNotReady(message, failure=TIMEOUT, log_tail=tail)
    return ServiceNotReady(f"{message} ({failure}): {root_cause(tail)}", failure=failure, log_tail=tail)
