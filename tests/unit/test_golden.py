"""Golden runs: whose they are, and that only accepting moves them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_msprof.errors import SchemaTooNew, StoreError
from pytest_msprof.golden import GoldenStore
from pytest_msprof.ids import new_id
from pytest_msprof.results import Run
from pytest_msprof.workload import Workload

ROOT = Path(__file__).parents[2]
IDENTITY = {
    "case": "suites/test_chat.py::test_chat[4-vllm]",
    "engine": "vllm",
    "model_digest": "m",
    "workload_hash": "w",
    "device": "cpu",
    "fields": {"dtype": "bfloat16", "blocks": 8},
}
KEY = GoldenStore.key(**IDENTITY)


@pytest.fixture
def store(tmp_path):
    return GoldenStore(tmp_path / "golden")


def make_run(case=IDENTITY["case"]):
    return Run(
        id=new_id(),
        launch_id="launch",
        case=case,
        workload=Workload(),
        workload_hash="w",
        started_at=datetime.now(UTC),
        duration=1.0,
        completed=1,
        failed=0,
        metrics={"output_throughput": 1000.0},
    )


def ids(runs):
    return [run.id for run in runs]


def test_nothing_is_golden_before_it_is_accepted(store):
    assert not store.exists(KEY)
    assert (store.load(KEY).runs, store.load(KEY).accepted_at) == ((), None)


def test_accepted_runs_come_back_in_order(store):
    runs, before = [make_run() for _ in range(4)], datetime.now(UTC)
    store.accept(KEY, runs)
    golden = store.load(KEY)
    assert store.exists(KEY)
    assert [run.model_dump() for run in golden.runs] == [run.model_dump() for run in runs]
    assert before <= golden.accepted_at <= datetime.now(UTC)


def test_accepting_again_replaces_all_and_leaves_no_other_file(store):
    store.accept(KEY, [make_run(), make_run()])
    newer = make_run()
    folder = store.accept(KEY, [newer])
    assert ids(store.load(KEY).runs) == [newer.id]
    assert sorted(path.name for path in folder.iterdir()) == [f"{newer.id}.json", "golden.json"]


@pytest.mark.parametrize("name", IDENTITY)
def test_every_part_of_the_identity_makes_another_golden(store, name):
    other = {**IDENTITY, name: {"blocks": 16} if name == "fields" else "other"}
    assert GoldenStore.key(**other) != KEY


def test_the_order_of_the_fields_is_no_part_of_the_identity():
    assert GoldenStore.key(**{**IDENTITY, "fields": {"blocks": 8, "dtype": "bfloat16"}}) == KEY


@pytest.mark.parametrize("case", ["../../etc/passwd", "a/b::c[x y#?%é/\n]", "", ".", "x" * 500])
def test_any_case_has_a_directory_of_its_own_inside_the_store(store, case):
    key = GoldenStore.key(**{**IDENTITY, "case": case})
    folder = store.accept(key, [make_run(case)])
    assert folder.parent == store.folder
    assert folder.name.isascii()
    assert store.exists(key)


def test_a_person_recognises_the_case_in_the_name_of_its_directory(store):
    assert store.accept(KEY, [make_run()]).name == f"suites-test_chat.py-test_chat-4-vllm-{KEY}"


def test_no_runs_are_no_golden(store):
    with pytest.raises(StoreError, match="no runs to accept"):
        store.accept(KEY, [])


def test_a_reader_sees_the_old_golden_or_the_new_one(store):
    store.accept(KEY, [make_run() for _ in range(4)])
    script = """
import sys
sys.path.insert(0, "tests/unit")
from pathlib import Path
from test_golden import KEY, GoldenStore, make_run
for number in range(10):
    GoldenStore(Path(sys.argv[1])).accept(KEY, [make_run() for _ in range(4)])
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, str(store.folder)], cwd=ROOT) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        assert len(store.load(KEY).runs) == 4
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(list(store.folder.glob("*/*.json"))) == 5


def test_a_writer_that_stopped_half_way_leaves_the_old_golden(store):
    run = make_run()
    folder = store.accept(KEY, [run])
    (folder / f"{new_id()}.json").write_text("{")
    assert ids(store.load(KEY).runs) == [run.id]


def test_a_golden_of_a_newer_version_is_refused_by_name(store):
    path = store.accept(KEY, [make_run()]) / "golden.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(SchemaTooNew, match=str(path)):
        store.load(KEY)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema_version": 1}', '{"schema_version": 1, "runs": [], "accepted_at": 3}']
)
def test_a_damaged_golden_is_an_error_that_names_the_file(store, content):
    path = store.accept(KEY, [make_run()]) / "golden.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=str(path)):
        store.load(KEY)


def test_a_golden_whose_run_is_missing_is_an_error_that_names_the_file(store):
    run = make_run()
    path = store.accept(KEY, [run]) / f"{run.id}.json"
    path.unlink()
    with pytest.raises(StoreError, match=str(path)):
        store.load(KEY)


def test_a_golden_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "golden").write_text("in the way")
    with pytest.raises(StoreError, match=str(tmp_path / "golden")):
        GoldenStore(tmp_path / "golden").accept(KEY, [make_run()])
