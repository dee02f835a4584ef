"""The command line: what it lists, copies and refuses, and with which exit code."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_msprof.cli import main
from pytest_msprof.golden import GoldenStore
from pytest_msprof.ids import new_id
from pytest_msprof.results import Distribution, Run
from pytest_msprof.store import RunStore
from pytest_msprof.workload import Workload


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a command writes by default go where nobody looks."""
    (tmp_path / ".cwd").mkdir()
    monkeypatch.chdir(tmp_path / ".cwd")


def recorded(folder: Path, *, speed: float = 100.0, concurrency: int = 4) -> Path:
    store = RunStore(folder)
    run = Run(
        id=new_id(),
        launch_id=new_id(),
        case="test_x",
        engine="fake",
        workload=Workload(concurrency=concurrency),
        workload_hash="hash",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration=1.0,
        completed=48,
        failed=0,
        metrics={"output_throughput": speed, "success_rate": 1.0, "request_throughput": 2.0},
        distributions={
            "ttft": Distribution({"n": 48, "mean": 0.1, "p50": 0.1}),
            "tpot": Distribution({"n": 48, "mean": 0.01, "p50": 0.01}),
        },
    )
    return store.seal(store.open(run.id), run)


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["--help"])
    assert ending.value.code == 0
    shown = capsys.readouterr().out
    for name in ("init", "optimizer", "load", "compare", "make-models", "prune"):
        assert name in shown


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["prune", "--nonsense"]])
def test_what_is_no_command_ends_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(argv)
    assert ending.value.code == 2


def test_init_copies_every_packaged_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pytest_msprof.init_cli import packaged_suites

    assert main(["init", str(tmp_path / "mine")]) == 0
    copied = {path.name for path in (tmp_path / "mine").rglob("*.py")}
    assert copied == {path.name for path in packaged_suites().rglob("*.py")} != set()
    assert "pytest" in capsys.readouterr().out


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path)])
    changed = next(tmp_path.rglob("*.py"))
    changed.write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert changed.read_text() == "mine"
    assert "would be overwritten" in capsys.readouterr().err


def test_make_models_refuses_an_unknown_name_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make-models", "tiny-qwen"]) == 2
    assert "did you mean" in (said := capsys.readouterr().err)
    assert "'tiny-qwen2'" in said


def test_make_models_prints_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make-models", "tiny-qwen2", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tiny-qwen2")
    assert (tmp_path / "tiny-qwen2" / "config.json").is_file()


def test_prune_keeps_the_newest_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [recorded(tmp_path / ".msprof" / "runs") for _ in range(3)]
    assert main(["prune", "--keep", "1", "--rootdir", str(tmp_path)]) == 0
    assert [path.exists() for path in runs] == [False, False, True]
    assert "deleted 2 runs, " in capsys.readouterr().out


def test_prune_makes_no_folder_where_nothing_was_measured(tmp_path: Path) -> None:
    assert main(["prune", "--rootdir", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [".cwd"]


def test_compare_prints_every_metric_and_ends_with_0_without_a_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("now", "golden"):
        for _ in range(4):
            recorded(tmp_path / side)
    assert main(["compare", str(tmp_path / "now"), str(tmp_path / "golden")]) == 0
    shown = capsys.readouterr().out
    for name in ("output_throughput", "ttft.p50", "tpot.p50"):
        assert name in shown


def test_compare_ends_with_1_on_a_regression(tmp_path: Path) -> None:
    for number in range(5):
        recorded(tmp_path / "now", speed=50.0 + 0.1 * number)
        recorded(tmp_path / "golden", speed=100.0 + 0.1 * number)
    assert main(["compare", str(tmp_path / "now"), str(tmp_path / "golden")]) == 1
    assert main(["compare", "--tolerance", "ttft.p50=0.1", str(tmp_path / "now"), str(tmp_path / "golden")]) == 0


def test_compare_reads_a_folder_of_golden_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    now = recorded(runs)
    golden = GoldenStore(tmp_path / "golden").accept("0a08a1a74b15eb77", [RunStore(runs).load(now)])
    assert main(["compare", str(now), str(golden)]) == 0
    assert "a verdict needs 4 launches a side" in capsys.readouterr().out


def test_compare_says_why_runs_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = recorded(tmp_path), recorded(tmp_path, concurrency=8)
    assert main(["compare", str(one), str(other)]) == 2
    assert "workload field concurrency differs: 4 now, 8 in golden" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "{"])
def test_compare_ends_with_2_for_what_is_no_run(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "run.json").write_text(content)
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
