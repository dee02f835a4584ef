"""An engine ends with its launch or its service, whatever the plugin's own `stop` does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_msprof.errors import ServiceNotReady
from pytest_msprof.interfaces import LaunchContext, SimulatorInterface
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import launch


class Deaf(SimulatorInterface):
    """Runs and never answers; written after the guide, whose `stop` has no argument."""

    readiness_timeout = 0.1
    base_url = "http://127.0.0.1:1/health"

    def update_command(self) -> None:
        self.command = [sys.executable, "-c", "import signal; signal.pause()"]

    def stop(self) -> None:
        """Leave it to the harness."""


class Broken(Deaf):
    def run(self, *args: Any, **more: Any) -> None:
        super().run(*args, **more)
        raise OSError("no licence")


def started(simulator: SimulatorInterface, folder: Path) -> None:
    context = LaunchContext(EngineProcess.start, folder)
    launch(simulator, engine="deaf", fields={}, declared={}, context=context)


@pytest.mark.parametrize(("kind", "error"), [(Deaf, ServiceNotReady), (Broken, OSError)])
def test_a_failed_launch_leaves_no_process_behind(kind, error, tmp_path):
    simulator = kind()

    with pytest.raises(error):
        started(simulator, tmp_path)

    assert not psutil.pid_exists(simulator.process.pid)


class Slow(SimulatorInterface):
    """Takes a while to tidy up after SIGTERM, and allows itself none."""

    base_url = "http://127.0.0.1:1/health"

    def update_command(self) -> None:
        tidy = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit(7)))"
        self.command = [sys.executable, "-c", f"{tidy}; print('up', flush=True); signal.pause()"]

    def stop_grace(self) -> float:
        return 0.0


def test_the_grace_of_the_engine_is_the_one_that_counts(tmp_path):
    simulator = Slow()
    simulator.configure(LaunchContext(EngineProcess.start, tmp_path))
    simulator.update_command()
    simulator.run()
    while "up" not in simulator.process.log_tail():
        assert not simulator.process.wait(0.01)

    simulator.end()

    assert simulator.process.returncode == -signal.SIGKILL


def test_a_service_elsewhere_that_never_answers_is_named_without_its_password(tmp_path):
    class Elsewhere(Deaf):
        base_url = "http://user:pa55w0rd@127.0.0.1:1/health"

        def run(self, *_: Any, **__: Any) -> None:
            """Start nothing."""

    with pytest.raises(ServiceNotReady, match=r"http://user:\*\*\*@127.0.0.1:1/health did not answer") as raised:
        started(Elsewhere(), tmp_path)

    assert "pa55w0rd" not in str(raised.value)
