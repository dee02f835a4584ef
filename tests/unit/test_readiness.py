"""Waiting for a service, on a real process that does what the test says."""

from __future__ import annotations

import pytest

from pytest_msprof.errors import ServiceExited, ServiceNotReady
from pytest_msprof.readiness import wait_until_ready
from pytest_msprof.testing.processes import python_process

HANG = "import time; time.sleep(60)"
FULL = (
    "import time; print('MemoryError: Memory footprint 9 is more than available memory 8', flush=True); time.sleep(60)"
)


def test_asks_until_the_probe_says_yes() -> None:
    answers = [True, False, False]
    with python_process(HANG) as process:
        wait_until_ready(process, answers.pop, timeout=10)
    assert not answers


def test_tells_the_seconds_it_took() -> None:
    ticks = iter([100.0, 107.0])
    with python_process(HANG) as process:
        assert wait_until_ready(process, lambda: True, timeout=10, clock=lambda: next(ticks)) == 7


def test_a_process_that_dies_is_an_error_that_quotes_its_last_words() -> None:
    with (
        python_process("raise SystemExit('no KV cache left')") as process,
        pytest.raises(ServiceExited, match=r"exit code 1.*no KV cache left") as caught,
    ):
        wait_until_ready(process, lambda: False, timeout=10)
    assert caught.value.failure == "does not start"
    assert caught.value.log_tail == "no KV cache left"


def test_a_process_that_dies_during_a_long_pause_is_noticed_in_it() -> None:
    with python_process("raise SystemExit(3)") as process, pytest.raises(ServiceExited, match="exit code 3"):
        wait_until_ready(process, lambda: False, timeout=3600, clock=lambda: 0.0)


def test_a_root_cause_far_above_the_quoted_tail_is_found() -> None:
    code = "print('OSError: [Errno 98] Address already in use'); print('line\\n' * 300); raise SystemExit(1)"
    with python_process(code) as process, pytest.raises(ServiceExited, match=r"port in use.*Errno 98") as caught:
        wait_until_ready(process, lambda: False, timeout=10)
    assert "Errno 98" not in caught.value.log_tail


def test_a_process_that_hangs_is_named_as_hanging() -> None:
    with python_process(HANG) as process, pytest.raises(ServiceNotReady, match="still runs") as caught:
        wait_until_ready(process, lambda: False, timeout=0.1)
    assert caught.value.failure == "timeout"


def test_a_process_that_hangs_after_naming_a_cause_is_an_error_that_quotes_it() -> None:
    with python_process(FULL) as process:

        def said_it() -> bool:
            assert "MemoryError" not in process.log_tail()
            return False

        with pytest.raises(AssertionError):
            wait_until_ready(process, said_it, timeout=10)
        with pytest.raises(ServiceNotReady, match=r"still runs \(out of memory\): MemoryError: Memory foot") as caught:
            wait_until_ready(process, lambda: False, timeout=0)
    assert caught.value.failure == "out of memory"
