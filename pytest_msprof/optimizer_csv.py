"""The optimizer's table, with the columns of the original, for people who compare with old ones."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_msprof.results import PerformanceIndex, Run, Value
from pytest_msprof.summary import StudySummary, TrialRecord

if TYPE_CHECKING:
    from pytest_msprof.settings import Settings

__all__ = ["fitness", "write_csv", "write_trials"]

SHARES = (0.4, 0.2, 0.3, 0.1)
"""Shares of speed, first token, later tokens and success in the original's fitness."""


def fitness(index: PerformanceIndex, settings: Settings) -> float:
    """Return the original's fitness, smaller is better; infinite without speed or success.

    It is for comparing with old tables and never decides here. Formula of msserviceprofiler 1.2.3.
    """
    if not index.generate_speed or not index.success_rate:
        return math.inf
    speed, first, later, success = SHARES
    try:
        total = speed * settings.generate_speed_target / index.generate_speed
        if index.time_to_first_token is not None:
            total += first * _penalty(settings.ttft_penalty, index.time_to_first_token / settings.ttft_slo)
        if index.time_per_output_token is not None:
            total += later * _penalty(settings.tpot_penalty, index.time_per_output_token / settings.tpot_slo)
        return total + success * _penalty(settings.success_rate_penalty, settings.success_rate_slo / index.success_rate)
    except OverflowError:
        return math.inf


def write_csv(
    path: Path,
    study: StudySummary,
    *,
    settings: Settings,
    runs: Mapping[str, Run],
    columns: Mapping[str, str] | None = None,
    backups: Mapping[int, Path] | None = None,
) -> Path:
    """Write the table of *study* and return its path; *runs* by id, *columns* and *backups* as `write_trials`."""
    names = columns or {name: name for name in study.space}
    return write_trials(path, study.trials, settings=settings, runs=runs, columns=names, backups=backups or {})


def write_trials(
    path: Path,
    trials: Sequence[TrialRecord],
    *,
    settings: Settings,
    runs: Mapping[str, Run],
    columns: Mapping[str, str],
    backups: Mapping[int, Path],
) -> Path:
    """Write one row a trial and return *path*; a reader sees the old table or the new one.

    *columns* says which column each field has, *backups* where the files of a trial were kept.
    """
    rows = [_row(trial, settings, runs, columns, backups) for trial in trials]
    header = list(rows[0]) if rows else []
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)
    return partial.replace(path)


def _row(
    trial: TrialRecord,
    settings: Settings,
    runs: Mapping[str, Run],
    columns: Mapping[str, str],
    backups: Mapping[int, Path],
) -> dict[str, Value]:
    run = next((runs[run_id] for run_id in trial.run_ids if run_id in runs), None)
    index = PerformanceIndex() if run is None else run.performance_index
    why = {"failed": f"{trial.failure}: {trial.reason}", "behind": trial.reason}.get(trial.state)
    return {
        **index.model_dump(),
        **{column: _cell(trial.fields.get(name)) for name, column in columns.items()},
        "error": _cell(why),
        "backup": _cell(str(backups[trial.number]) if trial.number in backups else None),
        "duration": trial.duration,
        "real_evaluation": True,
        "fitness": fitness(index, settings),
        "num_prompts": run.workload.num_requests if run else None,
    }


def _cell(value: Value) -> Value:
    """Keep text that a spreadsheet would take for a formula as text."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _penalty(weight: float, ratio: float) -> float:
    return math.exp(weight * (ratio - 1))
