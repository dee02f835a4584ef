"""A benchmark of the seed's interface counts by what it left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_msprof import settings
from pytest_msprof.benchmark_process import ProcessBenchmark
from pytest_msprof.errors import LoadError
from pytest_msprof.interfaces import BenchmarkInterface, LaunchContext, LoadJob, Target
from pytest_msprof.process import EngineProcess
from pytest_msprof.results import PerformanceIndex
from pytest_msprof.workload import Workload


class Silent(BenchmarkInterface):
    """Ends well and writes nothing; its `stop` has no argument, as in the guide's list."""

    def update_command(self) -> None:
        self.command = [sys.executable, "-c", ""]

    def get_performance_index(self) -> PerformanceIndex:
        raise FileNotFoundError("result.json")

    def stop(self) -> None:
        """There is nothing to tidy up."""


def job_in(folder: Path) -> LoadJob:
    context = LaunchContext(EngineProcess.start, folder)
    return LoadJob(Workload(), Target("http://127.0.0.1:1", "tiny"), folder, context=context)


class Hanging(Silent):
    def update_command(self) -> None:
        self.command = [sys.executable, "-c", "import signal; signal.pause()"]


def test_settings_limit_how_long_a_benchmark_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_EVAL_STATE_PARTICLES_TIME_OUT", "1")
    monkeypatch.setattr(settings, "_made", None)

    with pytest.raises(LoadError, match="Hanging did not end within 1 s"):
        ProcessBenchmark(Hanging).generate(job_in(tmp_path))


def test_a_result_that_is_missing_is_a_failed_load(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"Silent left no result that can be read: FileNotFoundError: result\.json"):
        ProcessBenchmark(Silent).generate(job_in(tmp_path))
