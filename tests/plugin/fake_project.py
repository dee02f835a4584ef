"""A project with a fake engine, and pytest run in it as its user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

import psutil
import pytest

from pytest_msprof.results import Run
from pytest_msprof.store import RunStore

for name in ("pytest_msprof.studies", "pytest_msprof.testing.fake_simulator", "msprof_plugins.load"):
    import_module(name)  # what a run inside a test imports is forgotten with it, and imported again by the next

PATIENCE = 60.0
"""Seconds until a test gives up on a process; nothing here takes a quarter of it."""

INI = """
[pytest]
addopts = -ra -p no:hypothesispytest -p no:anyio -p no:randomly -p no:cacheprovider
msprof_engine = fake
msprof_report = no
"""

ENGINE = """
import json
import os
from pathlib import Path

import pytest

from pytest_msprof import OptimizerConfigField, slots
from pytest_msprof.testing import FakeSimulator, fake_command

patch = pytest.MonkeyPatch()

FAULTS = {{
    "": {{}},
    "slow": {{"ttft": 0.3}},
    "exits": {{"exit_at_start": 3, "say": "error: unrecognized arguments: --turbo"}},
    "runs out of memory": {{"oom": True}},
    "hangs": {{"hang_at_start": True}},
    "dies": {{"crash_after": 6, "say": "RuntimeError: engine core died"}},
    "refuses": {{"fail_every": 1, "fail_after": 1}},
}}


class Fake(FakeSimulator):
    FIELDS = (*FakeSimulator.FIELDS, OptimizerConfigField(name="fault", value=None))
    behaviour = {{
        "ttft": os.environ.get("FAKE_TTFT", "0.002"),
        "itl": os.environ.get("FAKE_ITL", "0.001"),
        "model": {model!r},
    }}

    def update_command(self):
        given = {{entry.name: entry.value for entry in self.data_field if entry.value is not None}}
        fault = given.pop("fault", "")
        self.readiness_timeout = 1.0 if fault == "hangs" else 30.0
        self.command = fake_command(self.context.port, **{{**self.behaviour, **FAULTS[fault], **given}})


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Fake)


def pytest_configure():
    patch.setattr(slots, "_shared_folder", lambda: Path({locks!r}))  # a test waits for no benchmark of this machine


def pytest_unconfigure():
    patch.undo()


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        facts = {{"item": report.nodeid.rpartition("::")[2], "outcome": report.outcome, "why": str(report.longrepr)}}
        with open("reports.jsonl", "a") as file:
            print(json.dumps({{**facts, "sections": dict(report.sections)}}), file=file)
"""

HEAD = """
import pytest

from pytest_msprof import SearchSpace, Tolerance, Workload, choice, compare, floats, integers

LOAD = Workload(input_tokens=4, output_tokens=8, concurrency=4, num_requests=8, warmup=0)
"""

REGRESSION = """
def test_chat(service, load_generator, record, golden):
    run = record(load_generator.run(LOAD, service))
    assert run.success_rate == 1
    compare(run, golden.runs, Tolerance({"tpot.p50": 0.25})).raise_for_regression()
"""

BODY = """
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
"""


class Report(NamedTuple):
    """What became of one test item."""

    item: str
    outcome: str
    why: str
    sections: dict[str, str]


def said(result: pytest.RunResult) -> str:
    """Return what pytest printed as one line, for sentences that were wrapped."""
    return " ".join(" ".join(result.outlines).split())


class Project:
    """A directory with a suite and a fake engine."""

    def __init__(self, pytester: pytest.Pytester, name: str) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.model = f"fake-{name}-{os.getpid()}"
        """The engine's model, which stands in the command lines of its processes."""
        locks = pytester.path.parent / f"{pytester.path.name}-locks"
        locks.mkdir()
        pytester.makeini(INI)
        pytester.makeconftest(ENGINE.format(locks=str(locks), model=self.model))

    def suite(self, body: str, name: str = "test_suite") -> None:
        """Write a suite; what every suite imports stands before it."""
        self.pytester.makepyfile(**{name: HEAD + textwrap.dedent(body)})

    def study(self, space: str, *, body: str = BODY, name: str = "test_suite", **arguments: object) -> None:
        """Write a suite with one study."""
        given: dict[str, object] = {"n_trials": 3, "confirm": 0, "seed": 7, "search": "random", **arguments}
        objective, load = given.pop("objective", "output_throughput"), given.pop("load_name", "LOAD")
        given |= {} if objective is None else {"objective": objective}
        listed = ", ".join(f"{key}={value!r}" for key, value in given.items())
        mark = f"@pytest.mark.tune({space}, workload={load}, {listed})"
        self.suite(f"\n{mark}{body}", name)

    def conftest(self, more: str) -> None:
        """Add to the conftest."""
        path = self.path / "conftest.py"
        path.write_text(f"{path.read_text()}\n{textwrap.dedent(more)}")

    def run(self, *args: str) -> pytest.RunResult:
        """Run pytest to its end."""
        return self.pytester.runpytest_subprocess(*args, timeout=PATIENCE)

    def collect(self, *args: str) -> pytest.RunResult:
        """Run pytest in this process, for what ends before anything starts."""
        return self.pytester.runpytest_inprocess(*args)

    @contextmanager
    def running(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """Run pytest beside the test; leaving kills it if it still runs."""
        command = [sys.executable, "-u", "-m", "pytest", *args]
        process = subprocess.Popen(
            command, cwd=self.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def reports(self) -> dict[str, Report]:
        """Return what became of each item, the last time it ran."""
        lines = (self.path / "reports.jsonl").read_text().splitlines()
        return {report.item: report for report in (Report(**json.loads(line)) for line in lines)}

    @property
    def store(self) -> RunStore:
        return RunStore(self.path / ".msprof" / "runs")

    def runs(self) -> list[Run]:
        """Return every recorded run, oldest first."""
        return list(self.store.runs())

    def launches(self) -> int:
        """Count the engines that were started so far."""
        return len(list((self.path / ".msprof" / "logs").glob("*")))

    def engines(self) -> list[psutil.Process]:
        """Return the processes of this project's engines, their supervisors included."""
        return [process for process in psutil.process_iter(["cmdline"]) if self._is_engine(process)]

    def _is_engine(self, process: psutil.Process) -> bool:
        return any(self.model in part for part in process.info["cmdline"] or ())
