"""Keeps engine and client apart: one core is the client's while a service runs, the engine has the others.

On two shared cores an engine with four processes leaves its client none otherwise, and the client is what is measured.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_msprof import Service

CORES = os.sched_getaffinity(0)
CLIENT = {max(CORES)}


@pytest.hookimpl(tryfirst=True)
def pytest_msprof_launch_service() -> None:
    """Let an engine start on every core: it may count them."""
    keep_to(CORES, [psutil.Process()])


@pytest.hookimpl(tryfirst=True)
def pytest_msprof_service_ready(service: Service) -> None:
    """Part the cores, where there is more than one."""
    if len(CORES) > 1 and service.process is not None:
        leader = psutil.Process(service.process.pid)
        keep_to(CORES - CLIENT, [leader, *leader.children(recursive=True)])
        keep_to(CLIENT, [psutil.Process()])


def keep_to(cores: set[int], processes: Iterable[psutil.Process]) -> None:
    """Let every thread of *processes* run on *cores* only."""
    for process in processes:
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)
