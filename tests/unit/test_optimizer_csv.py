"""The optimizer's table: the original's columns and fitness, and nothing a spreadsheet would run."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_msprof.optimizer_csv import fitness, write_csv
from pytest_msprof.results import Distribution, PerformanceIndex, Run
from pytest_msprof.settings import Settings
from pytest_msprof.summary import StudySummary, TrialRecord
from pytest_msprof.workload import Workload

WORKLOAD = Workload(concurrency=4, num_requests=48)


def run(run_id: str) -> Run:
    return Run(
        id=run_id,
        launch_id="launch",
        workload=WORKLOAD,
        workload_hash="hash",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration=1.0,
        completed=48,
        failed=0,
        metrics={"output_throughput": 1000.0, "success_rate": 1.0, "request_throughput": 12.0},
        distributions={"ttft": Distribution({"mean": 0.5}), "tpot": Distribution({"mean": 0.05})},
    )


def study(*trials: TrialRecord) -> StudySummary:
    return StudySummary(
        name="s",
        key="k",
        engine="e",
        objective="output_throughput",
        workload=WORKLOAD,
        space={"seqs": "1 to 8", "flag": "a | b"},
        n_trials=len(trials),
        trials=trials,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings()


def test_the_columns_are_the_originals_in_its_order(tmp_path: Path, settings: Settings) -> None:
    trial = TrialRecord(number=0, fields={"seqs": 4}, state="measured", run_ids=("r",), duration=2.5)
    path = write_csv(
        tmp_path / "new" / "t.csv",
        study(trial),
        settings=settings,
        runs={"r": run("r")},
        columns={"seqs": "MAX_NUM_SEQS", "flag": "FLAG"},
    )
    (row,) = rows(path)
    assert list(row.items()) == [
        ("generate_speed", "1000.0"),
        ("time_to_first_token", "0.5"),
        ("time_per_output_token", "0.05"),
        ("success_rate", "1.0"),
        ("throughput", "12.0"),
        ("MAX_NUM_SEQS", "4"),
        ("FLAG", ""),
        ("error", ""),
        ("backup", ""),
        ("duration", "2.5"),
        ("real_evaluation", "True"),
        ("fitness", str(fitness(run("r").performance_index, settings))),
        ("num_prompts", "48"),
    ]


def test_a_failed_trial_keeps_its_row_and_its_reason(tmp_path: Path, settings: Settings) -> None:
    trial = TrialRecord(number=1, fields={"seqs": 8}, state="failed", failure="out of memory", reason="died")
    (row,) = rows(write_csv(tmp_path / "t.csv", study(trial), settings=settings, runs={}))
    assert (row["error"], row["generate_speed"], row["fitness"]) == ("out of memory: died", "", "inf")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_text_that_looks_like_a_formula_stays_text(tmp_path: Path, settings: Settings, text: str) -> None:
    trial = TrialRecord(number=0, fields={"flag": text}, state="failed", reason="x", failure="y")
    (row,) = rows(write_csv(tmp_path / "t.csv", study(trial), settings=settings, runs={}))
    assert row["flag"] == "'" + text


def test_a_negative_number_stays_a_number(tmp_path: Path, settings: Settings) -> None:
    trial = TrialRecord(number=0, fields={"seqs": -4}, state="measured")
    (row,) = rows(write_csv(tmp_path / "t.csv", study(trial), settings=settings, runs={}))
    assert row["seqs"] == "-4"


def test_fitness_is_the_originals_sum(settings: Settings) -> None:
    index = PerformanceIndex(generate_speed=2500, time_to_first_token=1.0, time_per_output_token=0.05, success_rate=1.0)
    assert fitness(index, settings) == pytest.approx(0.4 * 2 + 0.2 + 0.3 + 0.1)
    worse = index.model_copy(update={"time_to_first_token": 2.0, "success_rate": 0.5})
    assert fitness(worse, settings) == pytest.approx(0.8 + 0.2 * math.e + 0.3 + 0.1 * math.exp(5))


@pytest.mark.parametrize(
    "index",
    [
        PerformanceIndex(),
        PerformanceIndex(generate_speed=0.0, success_rate=1.0),
        PerformanceIndex(generate_speed=1.0, success_rate=0.0),
        PerformanceIndex(generate_speed=1.0, success_rate=1.0, time_to_first_token=1e9),
    ],
)
def test_fitness_is_infinite_without_speed_or_success_and_beyond_all_bounds(index, settings) -> None:
    assert fitness(index, settings) == math.inf
