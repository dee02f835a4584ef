"""Whatever happened to an input: it is read, or refused in one line, and never changed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_samples import launches

from msprof_plugins import pytest_msprof_read_result as read_result
from pytest_msprof.cli import main
from pytest_msprof.errors import MsprofError, StoreError
from pytest_msprof.golden import GoldenStore
from pytest_msprof.sources import Source, read_side
from pytest_msprof.store import RunStore

DATA = Path(__file__).parents[1] / "data"
NOBODY = 65534


def a_run(folder: Path) -> Path:
    (run,) = launches(60, 0.03, seed=1, n=1)
    store = RunStore(folder)
    return store.seal(store.open("a"), run.model_copy(update={"id": "a"}))


def a_golden(folder: Path) -> Path:
    runs = [run.model_copy(update={"id": str(number)}) for number, run in enumerate(launches(60, 0.03, seed=1))]
    return GoldenStore(folder).accept("key", runs)


def a_benchmark(folder: Path) -> Path:
    runs = [run.model_dump(mode="json") for run in launches(60, 0.03, seed=1)]
    stats = {"mean": 0.2, "max": 0.3, "min": 0.1, "median": 0.2, "rounds": 5}
    told = {"machine_info": {}, "benchmarks": [{"fullname": "a", "stats": stats}], "msprof": {"runs": runs}}
    folder.mkdir()
    (folder / "0001.json").write_text(json.dumps(told))
    return folder / "0001.json"


def a_plain_benchmark(folder: Path) -> Path:
    path = a_benchmark(folder)
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "msprof"})
    )
    return path


MADE = {"run": a_run, "golden": a_golden, "benchmark": a_benchmark, "plain benchmark": a_plain_benchmark}
STORED = (
    "compare/analysed/golden",
    "compare/raw/golden",
    "loadgen/vllm/completions_ok.json",
    "loadgen/vllm-rs/completions_ok.json",
    "loadgen/guidellm/completions_ok",
    "loadgen/aiperf/completions_ok",
    "loadgen/ais_bench/completions_ok",
    "loadgen/sglang/completions_ok.jsonl",
    "loadgen/evalscope/completions_http500",
    "loadgen/genai-perf/completions_ok",
    "loadgen/inference-perf/completions_http500",
)
EVERY = (*MADE, *STORED)


def put(name: str, folder: Path) -> Path:
    """Put an input of one kind below *folder*."""
    if name in MADE:
        return MADE[name](folder / "made")
    source = DATA / name
    target = folder / source.name
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return target


def read(path: Path) -> list[Source]:
    return read_side(path, lambda found: read_result(path=found))


def files(path: Path) -> list[Path]:
    return sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_input_with_any_damage_is_read_or_refused_in_one_line(name: str, data: st.DataObject):
    with tempfile.TemporaryDirectory() as folder:
        path = put(name, Path(folder))
        victim = data.draw(st.sampled_from(files(path)))
        content = victim.read_bytes()
        begin = data.draw(st.integers(0, max(0, len(content) - 1)))
        length = data.draw(st.sampled_from([0, 1, 7, len(content)]))
        patch = data.draw(
            st.binary(max_size=12) | st.sampled_from([b"nan", b"-1", b"null", b'"', b"\n", b"1e999", b"[["])
        )
        victim.write_bytes(content[:begin] + patch + content[begin + length :])
        found, refused = [], folder
        try:
            found = read(path)
        except MsprofError as error:
            refused = str(error)
        assert found or refused != folder
        assert folder in refused
        assert "\n" not in refused


@pytest.mark.parametrize("name", EVERY)
def test_a_comparison_changes_nothing_of_its_inputs(name: str, tmp_path: Path):
    path = put(name, tmp_path)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files(tmp_path)}
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    assert main(["compare", str(path), str(path), "--output-path", str(out), "--log-level", "fatal"]) in (0, 2)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files(tmp_path)} == before


@pytest.mark.parametrize("name", EVERY)
def test_a_path_of_odd_characters_is_a_path(name: str, tmp_path: Path):
    folder = tmp_path / "a 'b' \"c\" #?% [*] ;-- 数据"
    folder.mkdir()
    path = put(name, folder)
    out = folder / "out ? # %"
    assert main(["compare", str(path), str(path), "--output-path", str(out), "--log-level", "fatal"]) == 0
    assert (out / "compare_result.db").stat().st_size > 0


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while where we are root, whom no mode stops."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody reaches."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for folder, _, _ in os.walk(name):
            Path(folder).chmod(0o755)


@pytest.mark.parametrize("what", ["compare/analysed/golden", "compare/raw/golden", "loadgen/vllm/completions_ok.json"])
def test_what_may_not_be_read_is_named(what: str, public: Path):
    path = put(what, public)
    read(path)
    victim = files(path)[-1]
    victim.chmod(0)
    with unprivileged(), pytest.raises(StoreError, match=rf"{victim.name}.*: Permission denied"):
        read(path)
    if path.is_dir():
        path.chmod(0)
        with unprivileged(), pytest.raises(StoreError, match=r"Permission denied"):
            read(path)


def test_a_folder_that_may_not_be_written_is_named_and_left_alone(public: Path, capsys: pytest.CaptureFixture[str]):
    side = str(put("compare/raw/golden", public))
    argv = ["compare", side, side, "--log-level", "fatal", "--output-path"]
    assert main([*argv, str(public / "first")]) == 0
    (public / "kept").mkdir(mode=0o555)
    (public / "kept").chmod(0o555)
    with unprivileged():
        assert main([*argv, str(public / "kept")]) == 2
        assert main([*argv, str(public / "kept" / "new")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(str(public / "kept") in line and "Permission denied" in line for line in lines)
    assert list((public / "kept").iterdir()) == []


def compare_apart(out: Path, **limits: object) -> subprocess.CompletedProcess[str]:
    side = str(DATA / "compare" / "raw" / "golden")
    command = [sys.executable, "-m", "pytest_msprof.cli", "compare", side, side, "--log-level", "fatal"]
    return subprocess.run([*command, "--output-path", str(out)], capture_output=True, text=True, check=False, **limits)


def test_files_that_may_not_grow_leave_the_old_results_whole(tmp_path: Path):
    assert compare_apart(tmp_path).returncode == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    ended = compare_apart(tmp_path, preexec_fn=little)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert str(tmp_path) in ended.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


MOUNTED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def can_mount() -> bool:
    try:
        return subprocess.run([*MOUNTED, "mount -t tmpfs x /mnt"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="needs a user namespace that may mount")
def test_a_disk_that_is_full_is_an_error_in_one_line_and_nothing_half_written_stays(tmp_path: Path):
    side = DATA / "compare" / "raw" / "golden"
    command = '"$0" -m pytest_msprof.cli compare "$1" "$1" --log-level fatal --output-path "$2"'
    script = f'mount -t tmpfs -o size=40k x "$2" && {{ {command}; echo "ended $?"; ls -A "$2"; }}'
    ended = subprocess.run(
        [*MOUNTED, script, sys.executable, str(side), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines()[-1] == "ended 2"
    assert len(ended.stderr.splitlines()) == 1
    assert str(tmp_path) in ended.stderr


def test_json_that_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(StoreError, match=r"huge\.json has 4398\.0 GB, but .* GB of memory are free"):
        read(path)


def test_a_database_that_is_locked_ends_the_command_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = put("compare/raw/golden", tmp_path)
    database = next(path.rglob("*.db"))
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert main(["compare", str(path), str(path), "--output-path", str(tmp_path / "out")]) == 2
    assert f"{database} cannot be read: database is locked" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
