"""A lease ends with its process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from pytest_msprof.testing import python_process
from pytest_msprof.tuning.leases import is_alive, my_lease, started


def test_our_own_lease_is_alive_and_stays_the_same():
    assert is_alive(my_lease())
    assert my_lease() == my_lease()


def test_no_lease_is_dead():
    assert not is_alive(None)
    assert not is_alive({})


def test_a_lease_dies_with_its_process(tmp_path):
    with python_process("import signal; signal.pause()") as process:
        lease = my_lease() | {"pid": process.pid, "started": started(process.pid)}
        assert is_alive(lease)
    assert not is_alive(lease)


def test_a_process_that_ended_is_dead_before_its_parent_asks_how(tmp_path):
    child = os.fork()
    if child == 0:
        signal.pause()
    lease = my_lease() | {"pid": child, "started": started(child)}
    assert is_alive(lease)

    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    assert not is_alive(lease)
    os.waitpid(child, 0)


def test_a_number_that_was_given_again_is_no_lease():
    assert not is_alive(my_lease() | {"started": my_lease()["started"] - 100})


def test_another_host_is_taken_at_its_word():
    assert is_alive(my_lease() | {"host": f"not-{os.uname().nodename}", "pid": 1})


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="other kernels tell the start as a time of day")
def test_a_clock_that_is_set_back_leaves_a_lease_alive(monkeypatch):
    lease = my_lease()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 0.0)

    assert is_alive(lease)
    assert my_lease() == lease
