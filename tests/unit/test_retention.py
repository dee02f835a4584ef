"""What pruning keeps: the newest runs, what they came from, and nothing of a session that still runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pytest_msprof import Run, Workload
from pytest_msprof.ids import new_id
from pytest_msprof.retention import Pruned, prune
from pytest_msprof.store import RunStore


@pytest.fixture
def launches(tmp_path):
    """Four launches with one run, one log and one report each, the oldest first."""
    store, names = RunStore(tmp_path / "runs"), [new_id() for _ in range(4)]
    for number, launch_id in enumerate(names):
        run = Run(
            id=new_id(),
            launch_id=launch_id,
            workload=Workload(),
            workload_hash="w",
            started_at=datetime.now(UTC),
            duration=1,
            completed=1,
            failed=0,
        )
        partial = store.open(run.id)
        partial.complete(None)
        store.seal(partial, run)
        (tmp_path / "logs" / launch_id).mkdir(parents=True)
        (tmp_path / "reports" / f"2026010{number}-000000-abcd").mkdir(parents=True)
    return names


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_runs_stay_with_their_logs_and_reports(tmp_path, launches):
    assert prune(tmp_path, 2) == Pruned(runs=2, logs=2, reports=2)
    assert [run.launch_id for run in RunStore(tmp_path / "runs").runs()] == launches[2:]
    assert names(tmp_path / "logs") == launches[2:]
    assert names(tmp_path / "reports") == ["20260102-000000-abcd", "20260103-000000-abcd"]


def test_the_log_of_an_engine_that_has_no_run_yet_stays(tmp_path, launches):
    running = tmp_path / "logs" / new_id()
    running.mkdir()
    prune(tmp_path, 1)
    assert names(tmp_path / "logs") == [launches[3], running.name]


def test_keeping_none_empties_it(tmp_path, launches):
    assert prune(tmp_path, 0) == Pruned(runs=4, logs=4, reports=4)


def test_an_empty_project_has_nothing_to_prune(tmp_path):
    assert prune(tmp_path, 3) == Pruned(0, 0, 0)
