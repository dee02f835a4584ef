"""A lease ends with its process."""

from __future__ import annotations

import os

from pytest_msprof.testing import python_process
from pytest_msprof.tuning.leases import is_alive, my_lease


def test_our_own_lease_is_alive_and_stays_the_same():
    assert is_alive(my_lease())
    assert my_lease() == my_lease()


def test_no_lease_is_dead():
    assert not is_alive(None)
    assert not is_alive({})


def test_a_lease_dies_with_its_process(tmp_path):
    with python_process("import signal; signal.pause()") as process:
        import psutil

        lease = my_lease() | {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        assert is_alive(lease)
    assert not is_alive(lease)


def test_a_number_that_was_given_again_is_no_lease():
    assert not is_alive(my_lease() | {"started": my_lease()["started"] - 100})


def test_another_host_is_taken_at_its_word():
    assert is_alive(my_lease() | {"host": f"not-{os.uname().nodename}", "pid": 1})
