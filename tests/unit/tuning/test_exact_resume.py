"""However often a study is interrupted, and wherever, it comes to the trials of one that was not."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from measured import IDENTITY, make_plan, make_run

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.ids import new_id
from pytest_msprof.tuning import study as study_module
from pytest_msprof.tuning.journal import JournalFile
from pytest_msprof.tuning.opening import open_study
from pytest_msprof.tuning.storage import Journals
from pytest_msprof.tuning.study import Exhausted, Proposal, TuneStudy

SPACE = SearchSpace(
    choice("batching", [False, True]),
    integers("size", 1, 64, log=True, when="batching").marked(memory="more"),
    integers("depth", 1, 8),
    where=["depth <= 6"],
    default={"batching": False, "depth": 2},
)
TRIALS = 9
WRITES = 120
"""Writes to a journal, about as many as a whole study makes."""
FEW = settings(
    deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
Trials = list[tuple[int, dict[str, Any], str, float | None]]


def answer(study: TuneStudy, proposal: Proposal) -> None:
    """Tell *study* what this configuration always comes to: too large runs out of memory, too deep is too slow."""
    size, depth = proposal.fields.get("size", 2), proposal.fields["depth"]
    if size > 40:
        study.fail(proposal, "out of memory", "CUDA out of memory", before_load=True)
    else:
        study.tell(proposal, make_run(10.0 * size / (1 + abs(depth - 3)), ttft=0.05 * depth))


def plan_of(search: str) -> Any:
    return make_plan(SPACE, search=search, n_trials=TRIALS, subject_to={"ttft.p50": 0.24}, seed=5)


def opened(folder: Path, search: str, shelf: Journals | None = None) -> TuneStudy:
    return open_study(shelf or Journals(folder), IDENTITY, plan_of(search), session_id=new_id())[0]


def finish(study: TuneStudy) -> None:
    with suppress(Exhausted):
        while not study.is_spent():
            answer(study, study.ask())


def trials_of(study: TuneStudy) -> Trials:
    return [(record.number, record.fields, record.state, record.value) for record in study.records()]


@cache
def uninterrupted(search: str) -> Trials:
    with tempfile.TemporaryDirectory() as folder:
        study = opened(Path(folder), search)
        finish(study)
        return trials_of(study)


class Lives(Journals):
    """Studies whose processes are played by this one: only the latest of them is alive."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.life = 0

    def lease(self) -> dict[str, int]:
        return {"life": self.life}

    def is_alive(self, lease: Any) -> bool:
        return lease == self.lease()


class Interrupted(RuleBasedStateMachine):
    """A study that is asked, told, stopped and killed in any order."""

    @initialize(search=st.sampled_from(["auto", "quick", "pso"]))
    def begin(self, search: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.search, self.shelf = search, Lives(Path(self.folder.name))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(study_module, "my_lease", self.shelf.lease)
        self.asked: Proposal | None = None
        self.open()

    def open(self) -> None:
        self.study = opened(Path(self.folder.name), self.search, self.shelf)

    @precondition(lambda self: self.asked is None and not self.study.is_spent())
    @rule()
    def ask(self) -> None:
        with suppress(Exhausted):
            self.asked = self.study.ask()

    @precondition(lambda self: self.asked is not None)
    @rule()
    def tell(self) -> None:
        answer(self.study, self.asked)
        self.asked = None

    @precondition(lambda self: self.asked is not None)
    @rule()
    def stop(self) -> None:
        self.study.release(self.asked, again=True)
        self.asked = None

    deaths = 0

    @precondition(lambda self: self.asked is None or self.deaths < 2)
    @rule()
    def die(self) -> None:
        self.deaths += self.asked is not None
        self.shelf.life += 1
        self.asked = None
        self.open()

    def teardown(self) -> None:
        if not hasattr(self, "study"):
            return
        try:
            if self.asked is not None:
                answer(self.study, self.asked)
            finish(self.study)
            assert trials_of(self.study) == uninterrupted(self.search)
        finally:
            self.patch.undo()
            self.folder.cleanup()


Interrupted.TestCase.settings = settings(FEW, max_examples=8, stateful_step_count=20)
TestAnyOrder = Interrupted.TestCase


def killing(at: int, how: str) -> Iterator[None]:
    """Replace the journal's writing by one that kills this process at its write number *at*."""
    original, writes = JournalFile.append_logs, 0

    def append_logs(self: JournalFile, logs: list[dict[str, Any]]) -> None:
        nonlocal writes
        writes += 1
        if writes < at:
            original(self, logs)
            return
        if how == "after it":
            original(self, logs)
        elif how == "in the middle of it":
            with Path(self._file_path).open("ab") as file:
                file.write(b'{"op_code": 8, "worker_id": "torn')
        os.kill(os.getpid(), signal.SIGKILL)

    JournalFile.append_logs = append_logs
    yield
    JournalFile.append_logs = original


def in_a_process_that_dies(folder: Path, at: int, how: str) -> bool:
    """Go on with the study in a process that is killed at a write; say whether it was."""
    child = os.fork()
    if child == 0:
        try:
            next(killing(at, how))
            finish(opened(folder, "auto"))
        except BaseException:  # noqa: BLE001 - a test must not go on in both processes
            os._exit(1)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


DEATH = st.tuples(st.integers(1, WRITES), st.sampled_from(["before it", "in the middle of it", "after it"]))


@settings(FEW, max_examples=5)
@given(st.lists(DEATH, min_size=1, max_size=3))
@example([(20, "before it")])  # in the middle of a trial that shows what none before it had
def test_a_study_killed_between_any_two_writes_comes_to_the_same_trials(deaths):
    expected = uninterrupted("auto")
    with tempfile.TemporaryDirectory() as folder:
        for at, how in deaths:
            in_a_process_that_dies(Path(folder), at, how)
        study = opened(Path(folder), "auto")
        finish(study)

        assert trials_of(study) == expected


def test_processes_do_die_where_they_are_told_to(tmp_path):
    assert in_a_process_that_dies(tmp_path, 9, "in the middle of it")
    assert not trials_of(opened(tmp_path, "auto"))
