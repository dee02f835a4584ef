"""The search calculates on one thread, and leaves the process as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - its library is one of those that count
from threadpoolctl import threadpool_info, threadpool_limits

from pytest_msprof.tuning.one_thread import on_one_thread


def threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


@pytest.fixture
def _two_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        assert threads() == {2}
        yield


@pytest.mark.usefixtures("_two_threads")
def test_it_calculates_on_one_thread_and_on_as_many_as_before_after_that():
    assert on_one_thread(threads)() == {1}
    assert on_one_thread(on_one_thread(threads))() == {1}
    assert threads() == {2}


@pytest.mark.usefixtures("_two_threads")
def test_what_fails_gives_the_threads_back():
    with pytest.raises(np.linalg.LinAlgError):
        on_one_thread(np.linalg.inv)(np.zeros((2, 2)))

    assert threads() == {2}


def test_two_that_overlap_leave_as_many_threads_as_there_were():
    before, began, may_end = threads(), Event(), Event()

    @on_one_thread
    def first():
        began.set()
        may_end.wait(10)
        return threads()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        began.wait(10)
        other = pool.submit(on_one_thread(threads))
        may_end.set()

        assert one.result() == other.result() == {1}
    assert threads() == before
