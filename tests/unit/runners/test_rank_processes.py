"""Processes that run one model: asked together, told apart in the log, and gone together whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from msprof_runners import rank_processes
from msprof_runners.rank import Source
from msprof_runners.rank_processes import RankProcesses
from pytest_msprof.errors import CheckpointError, ConfigurationError, InvalidWorkload, ServiceError, ServiceExited

ABANDONED = """
import threading
from test_rank_processes import Runner
from msprof_runners.rank_processes import RankProcesses
ranks = RankProcesses.start(Runner, {}, count=2, launch_id="one")
print(ranks._process.pid, flush=True)
threading.Event().wait()
"""


class Runner:
    """Stands for a runner: no model, but processes that fail as those of a model do."""

    def __init__(self, settings):
        self.settings = settings
        self.rank = int(os.environ["RANK"])
        if settings.get("broken") == self.rank:
            raise CheckpointError("a weight is missing")

    def place(self):
        sys.stdout.write("hello\n")
        return self.rank, os.environ["WORLD_SIZE"], self.settings["model_name"], self.launch_id

    def refuse(self, *ranks):
        if self.rank in ranks:
            raise InvalidWorkload("no prompt")
        threading.Event().wait()

    def stumble(self):
        raise ZeroDivisionError("by zero")

    def die(self, rank):
        if self.rank == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that starts two processes, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    started = []

    def make(**settings):
        started.append(RankProcesses.start(Runner, {"model_name": "none", **settings}, count=2, launch_id="one"))
        return started[-1]

    yield make
    for ranks in started:
        ranks.stop()


def family(leader):
    return [psutil.Process(leader), *psutil.Process(leader).children(recursive=True)]


def test_the_first_process_answers_for_all_and_the_log_says_who_wrote_what(start, tmp_path):
    ranks = start()
    assert ranks.call("place") == (0, "2", "none", "one")
    assert ranks.call("place") == (0, "2", "none", "one")
    processes = family(ranks._process.pid)
    assert len(processes) == 3
    ranks.stop()
    assert not any(process.is_running() for process in processes)
    said = (tmp_path / ".msprof" / "logs" / "one" / "runner.log").read_text().splitlines()
    assert [said.count(f"[rank {rank}] hello") for rank in (0, 1)] == [2, 2]


def test_an_error_that_all_report_is_raised_and_they_go_on(start):
    ranks = start()
    with pytest.raises(InvalidWorkload, match=r"^no prompt$"):
        ranks.call("refuse", 0, 1)
    with pytest.raises(ServiceError, match="ZeroDivisionError in the runner: by zero"):
        ranks.call("stumble")
    assert ranks.call("place")[0] == 0


def test_an_error_of_one_ends_those_that_wait_for_it(start, monkeypatch):
    monkeypatch.setattr(rank_processes, "PATIENCE", 0.5)
    ranks = start()
    processes = family(ranks._process.pid)
    with pytest.raises(InvalidWorkload, match=r"^rank 1: no prompt$"):
        ranks.call("refuse", 1)
    assert not any(process.is_running() for process in processes)
    with pytest.raises(ServiceError, match="runner of 2 processes has ended"):
        ranks.call("place")


def test_a_process_that_dies_in_the_middle_takes_the_others_along_and_is_named(start):
    ranks = start()
    processes = family(ranks._process.pid)
    with pytest.raises(
        ServiceExited, match=r"lost one of them .*: \[rank 1\] was ended by SIGKILL; log: .*runner\.log"
    ):
        ranks.call("die", 1)
    assert not any(process.is_running() for process in processes)


def test_a_runner_that_cannot_be_made_says_why(start, monkeypatch):
    monkeypatch.setattr(rank_processes, "PATIENCE", 0.5)
    with pytest.raises(CheckpointError, match="rank 1: a weight is missing"):
        start(broken=1)


def test_the_processes_end_with_the_one_that_started_them(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    owner = subprocess.Popen([sys.executable, "-c", ABANDONED], cwd=tmp_path, env=env, stdout=subprocess.PIPE)
    processes = family(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def test_a_class_that_no_other_process_can_import_is_refused():
    class Local:
        pass

    with pytest.raises(ConfigurationError, match=r"must be a class of a module.*Local is none"):
        Source.of(Local)
