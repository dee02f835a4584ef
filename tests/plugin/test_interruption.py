"""However pytest ends, no engine outlives it, and what was recorded can be read."""

from __future__ import annotations

import signal

import psutil
import pytest
from fake_project import PATIENCE, REGRESSION

ANNOUNCES = """
import dataclasses
from msprof_plugins.load import StreamingLoad


class Announcing(StreamingLoad):
    def generate(self, job):
        def announced(samples):
            job.sink(samples)
            if job.workload.num_requests > 100:
                print("samples on disk", flush=True)

        return super().generate(dataclasses.replace(job, sink=announced))


def pytest_msprof_register_benchmarks(registry):
    registry.benchmarks.add("announcing", Announcing)
"""

LONG = """
def test_short(service, load_generator, record):
    record(load_generator.run(LOAD, service))


def test_long(service, load_generator, record):
    record(load_generator.run(Workload(concurrency=4, num_requests=10000, warmup=0), service))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_engine_survives_and_everything_recorded_is_readable(project, number):
    project.suite(LONG)
    project.conftest(ANNOUNCES)
    with project.running("-s", "--msprof-load=announcing") as process:
        assert any("samples on disk" in line for line in process.stdout)
        engines = project.engines()
        assert engines
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)

    _, alive = psutil.wait_procs(engines, timeout=PATIENCE)
    assert not alive
    assert not project.engines()
    (run,) = project.runs()
    assert len(run.samples) == run.completed == 8
    (leftover,) = project.store.partials()
    assert len(leftover.samples) > 0
    if number == signal.SIGINT:
        assert process.returncode == pytest.ExitCode.INTERRUPTED


def test_two_sessions_in_one_directory_leave_each_other_alone(project):
    project.study("SearchSpace(choice('capacity', [1, 2, 4, 8]), default={'capacity': 1})", n_trials=4)
    project.suite(REGRESSION, "test_chat")

    with project.running() as one, project.running() as other:
        said = [process.communicate(timeout=PATIENCE)[0] for process in (one, other)]

    assert [one.returncode, other.returncode] == [0, 0], said
    runs = project.runs()
    assert len({run.session_id for run in runs}) == 2
    assert sorted(run.fields["capacity"] for run in runs if "study" in run.case) == [1, 2, 4, 8]
    assert sum("chat" in run.case for run in runs) == 2
    assert all(len(run.samples) == 8 for run in runs)
    assert not project.store.partials()
    third = project.run()
    third.assert_outcomes(passed=2, skipped=4)
