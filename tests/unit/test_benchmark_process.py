"""A benchmark of the seed's interface counts by what it left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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


def test_a_result_that_is_missing_is_a_failed_load(tmp_path: Path) -> None:
    job = LoadJob(
        Workload(), Target("http://127.0.0.1:1", "tiny"), tmp_path, context=LaunchContext(EngineProcess.start, tmp_path)
    )

    with pytest.raises(LoadError, match=r"Silent left no result that can be read: FileNotFoundError: result\.json"):
        ProcessBenchmark(Silent).generate(job)
