"""Runs on disk: nothing measured is lost, nothing damaged is taken for whole."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_msprof import blocks
from pytest_msprof.errors import SchemaTooNew, StoreError
from pytest_msprof.ids import new_id
from pytest_msprof.results import SCHEMA_VERSION, Distribution, Run
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.store import RunStore, hide_from_git
from pytest_msprof.workload import Workload

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.store import RunStore, hide_from_git
partial = RunStore(Path(sys.argv[1])).open("killed")
number = 0
while True:
    partial.write(Samples.of([Sample(due=number, start=number, gaps=(0.1, 0.2))]))
    number += 1
    if number == 3:
        print("three are written", flush=True)
"""


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def make_run(**values):
    return Run(
        **{
            "id": new_id(),
            "launch_id": "launch",
            "workload": Workload(),
            "workload_hash": "hash",
            "started_at": datetime.now(UTC),
            "duration": 1.5,
            "completed": 2,
            "failed": 1,
            "fields": {"dtype": "bfloat16", "blocks": 64, "nested": {"a": [1, None]}},
            "metrics": {"output_throughput": 1000.25},
            "distributions": {"ttft": Distribution({"n": 2, "p50": 0.1})},
            **values,
        }
    )


def make_samples(count, start=0):
    return Samples.of(
        [
            Sample(due=start + i, start=start + i, gaps=(0.1,) * i, error="" if i % 3 else "status 500")
            for i in range(count)
        ]
    )


def sealed(store, *, samples=None, **values):
    run = make_run(**values)
    partial = store.open(run.id)
    partial.complete(samples)
    store.seal(partial, run)
    return run


def equal(one, other):
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(columns(one), columns(other), strict=True)
    )


def columns(samples):
    return samples.columns().values()


def test_a_sealed_run_comes_back_as_it_was(store):
    run, parts = make_run(), [make_samples(3), make_samples(4, start=3)]
    partial = store.open(run.id)
    for part in parts:
        partial.write(part)
    path = store.seal(partial, run)
    for found in (store.load(run.id), store.load(path), RunStore(store.folder / "elsewhere").load(path)):
        assert found.model_dump() == run.model_dump()
        assert equal(found.samples, Samples.concatenate(parts))


def test_requests_are_read_when_they_are_asked_for(store):
    run = sealed(store, samples=make_samples(2))
    found = store.load(run.id)
    (store.folder / run.id / "samples.msb").write_bytes(b"damaged since")
    with pytest.raises(StoreError, match=r"samples\.msb is damaged at byte 0"):
        _ = found.samples


def test_a_run_without_requests_has_none(store):
    assert store.load(sealed(store).id).samples is None


def test_what_was_measured_counts_and_not_what_was_streamed(store):
    run, whole = make_run(), make_samples(5)
    partial = store.open(run.id)
    partial.write(make_samples(2))
    partial.complete(whole)
    store.seal(partial, run)
    assert equal(store.load(run.id).samples, whole)


def test_files_of_the_load_generator_stay_with_the_run(store):
    run = make_run()
    partial = store.open(run.id)
    (partial.folder / "result.json").write_text("{}")
    assert (store.seal(partial, run) / "result.json").read_text() == "{}"


def test_a_discarded_run_leaves_nothing(store):
    partial = store.open("unwanted")
    partial.write(make_samples(2))
    partial.discard()
    assert list(store.folder.iterdir()) == []


def test_a_run_is_written_once(store):
    run = sealed(store)
    with pytest.raises(StoreError, match="written once"):
        store.open(run.id)
    store.open("open")
    with pytest.raises(StoreError, match="File exists"):
        store.open("open")


def test_a_run_is_sealed_in_its_own_folder(store):
    with pytest.raises(StoreError, match="cannot be sealed"):
        store.seal(store.open("one"), make_run(id="another"))


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_json_cannot_hold_is_refused_before_it_is_sealed(store, value):
    run = make_run(metrics={"output_throughput": value})
    with pytest.raises(StoreError, match="cannot be written"):
        store.seal(store.open(run.id), run)
    assert list(store.runs()) == []


@pytest.mark.parametrize("name", ["..", "../elsewhere", "/etc", ".hidden", ""])
def test_a_name_that_leads_elsewhere_is_no_id(store, name):
    for use in (store.open, store.load, store.delete):
        with pytest.raises(StoreError, match="is no id"):
            use(name)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_cut_at_any_byte_keeps_every_whole_block(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "samples.msb"
    ends, parts = [0], [make_samples(2), make_samples(1, start=2), make_samples(3, start=3)]
    with path.open("w+b") as file:
        for part in parts:
            blocks.append(file.fileno(), part)
            ends.append(file.seek(0, 2))
    cut = data.draw(st.one_of(st.integers(0, ends[-1]), st.sampled_from(ends)))
    path.write_bytes(path.read_bytes()[:cut])
    whole = sum(end <= cut for end in ends) - 1
    assert equal(blocks.read(path, torn=True), Samples.concatenate(parts[:whole]))
    if cut not in ends:
        with pytest.raises(StoreError, match=f"damaged at byte {ends[whole]}:"):
            blocks.read(path)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_never_yields_other_requests(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "samples.msb"
    with path.open("w+b") as file:
        blocks.append(file.fileno(), make_samples(3))
    content = bytearray(path.read_bytes())
    place = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(0, 11)))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"samples\.msb is damaged"):
        blocks.read(path)


def test_a_full_disk_leaves_the_blocks_before_it(tmp_path):
    script = """
import os, resource, signal, sys
from pathlib import Path
from pytest_msprof.errors import StoreError
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.store import RunStore, hide_from_git
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
partial = RunStore(Path(sys.argv[1])).open("full")
try:
    while True:
        partial.write(Samples.of([Sample(due=0, start=0)]))
except StoreError as error:
    print(partial.written, error)
"""
    done = python(script, tmp_path)
    out, _ = done.communicate()
    written, _, message = out.partition(" ")
    assert "File too large" in message
    (left,) = RunStore(tmp_path).partials()
    assert 0 < len(left.samples) == int(written)
    assert len(blocks.read(left.folder / "samples.msb")) == int(written)


def python(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_a_killed_writer_loses_at_most_the_block_it_was_writing(store):
    with python(WRITER, store.folder) as writer:
        assert writer.stdout.readline() == "three are written\n"
        assert store.partials() == [], "it is still being measured"
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
    (left,) = store.partials()
    assert left.run_id == "killed"
    assert len(left.samples) >= 3
    assert left.samples.due.tolist() == list(range(len(left.samples)))
    assert list(store.runs()) == []


def test_two_processes_write_into_one_store(store):
    script = """
import sys
sys.path.insert(0, "tests/unit")
from pathlib import Path
from pytest_msprof.store import RunStore, hide_from_git
from test_store import make_samples, sealed
for _ in range(8):
    sealed(RunStore(Path(sys.argv[1])), samples=make_samples(2), session_id=sys.argv[2])
"""
    writers = [python(script, store.folder, name) for name in ("one", "two")]
    while any(writer.poll() is None for writer in writers):
        list(store.runs())
    assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0]
    for session in ("one", "two"):
        assert [len(run.samples) for run in store.runs(session)] == [2] * 8


def test_runs_come_oldest_first_and_by_session(store):
    runs = [sealed(store, session_id=name) for name in "abab"]
    assert [run.id for run in store.runs()] == [run.id for run in runs]
    assert [run.id for run in store.runs("b")] == [runs[1].id, runs[3].id]


def test_a_store_that_was_never_written_is_empty(store):
    assert (list(store.runs()), store.partials(), store.prune(0)) == ([], [], [])


def test_pruning_keeps_the_newest_and_what_is_being_measured(store):
    leftover = store.open(new_id())
    leftover.close()
    live = store.open(new_id())
    runs = [sealed(store) for _ in range(4)]
    assert set(store.prune(2)) == {leftover.run_id, runs[0].id, runs[1].id}
    assert [run.id for run in store.runs()] == [runs[2].id, runs[3].id]
    assert sorted(path.name for path in store.folder.iterdir()) == sorted([live.folder.name, runs[2].id, runs[3].id])


def test_pruning_removes_no_leftover_newer_than_what_is_kept(store):
    sealed(store)
    store.open(new_id()).close()
    assert store.prune(1) == []
    assert len(store.partials()) == 1


def change_json(store, run, **values):
    path = store.folder / run.id / "run.json"
    data = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in data.items() if value is not None}))
    return path


def test_a_run_of_a_newer_version_is_refused_by_name(store):
    run = sealed(store)
    path = change_json(store, run, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(SchemaTooNew) as caught:
        store.load(run.id)
    assert str(path) in str(caught.value)
    assert f"version {SCHEMA_VERSION + 1}, but this version reads up to {SCHEMA_VERSION}" in str(caught.value)


def test_a_run_written_before_a_field_existed_is_read(store):
    run = sealed(store)
    change_json(store, run, notes=None, complete=None, load_fields=None)
    assert store.load(run.id).model_dump() == run.model_dump()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"schema_version": 1}', b'{"schema_version": "1"}']
)
def test_a_damaged_run_is_an_error_that_names_the_file(store, content):
    run = sealed(store)
    path = store.folder / run.id / "run.json"
    path.write_bytes(content)
    for read in (lambda: store.load(run.id), lambda: list(store.runs())):
        with pytest.raises(StoreError, match=str(path)):
            read()


def test_a_missing_run_is_an_error_that_names_the_file(store):
    with pytest.raises(StoreError, match=r"nowhere/run\.json: No such file"):
        store.load("nowhere")


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        RunStore(tmp_path / "file").open("run")


def test_git_is_offered_the_golden_runs_and_nothing_else(tmp_path):
    folder = tmp_path / ".msprof"
    hide_from_git(folder)
    for name in ("runs/1/run.json", "golden/a/golden.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("{}")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    listed = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert listed.stdout.split() == [".msprof/.gitignore", ".msprof/golden/a/golden.json"]


def test_what_the_user_wants_git_to_see_is_left_alone(tmp_path):
    (tmp_path / ".gitignore").write_text("!*\n")
    hide_from_git(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "!*\n"
