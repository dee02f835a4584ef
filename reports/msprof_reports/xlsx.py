"""The workbook for the spreadsheet: the same facts as the page, as cells that sort and filter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from openpyxl import Workbook

from msprof_reports.cells import (
    CHANGE,
    DATE,
    FIGURE,
    SHARE,
    Column,
    Figure,
    delta_cells,
    fill,
    number_format,
    with_unit,
)
from msprof_reports.findings import (
    comparison_verdict,
    environments,
    figure,
    gravity,
    ranked,
    session_findings,
    study_finding,
)
from msprof_reports.run_statistics import PERCENTILES, STATISTICS, statistics_of
from msprof_reports.search_sheet import fill_search
from pytest_msprof.comparison import Delta
from pytest_msprof.display import field_values
from pytest_msprof.results import Value
from pytest_msprof.search_facts import on_the_front, tradeoffs_of
from pytest_msprof.summary import SessionSummary, StudySummary

__all__ = ["write_xlsx"]

FILE_NAME = "report.xlsx"
RUN_METRICS = (
    "success_rate",
    "ttft.p50",
    "ttft.p99",
    "tpot.p50",
    "output_throughput",
    "request_throughput",
    "goodput",
    "energy",
)


def write_xlsx(summary: SessionSummary, folder: Path) -> Path:
    """Write the workbook into *folder*, whole or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    partial = path.with_suffix(".partial")
    _workbook(summary).save(partial)
    os.replace(partial, path)  # noqa: PTH105 - the rename that replaces is the point
    return path


def _workbook(summary: SessionSummary) -> Workbook:
    book = Workbook()
    book.remove(book.worksheets[0])
    fill(book.create_sheet("Summary"), (Column("fact"), Column("value")), _summary_rows(summary))
    fill(book.create_sheet("Studies"), _study_columns(summary.studies), _study_rows(summary.studies))
    fill_search(book.create_sheet("Search"), summary.studies)
    fill(book.create_sheet("Effects"), EFFECT_COLUMNS, _effect_rows(summary.studies))
    fill(book.create_sheet("Comparisons"), COMPARISON_COLUMNS, _comparison_rows(summary))
    fill(book.create_sheet("Runs"), _run_columns(), _run_rows(summary))
    fill(book.create_sheet("Distributions"), DISTRIBUTION_COLUMNS, _distribution_rows(summary))
    names, facts = environments(summary)
    columns = (Column("fact"), *map(Column, names))
    fill(book.create_sheet("Environment"), columns, ([name, *map(_distinct, cells)] for name, cells in facts.items()))
    return book


def _summary_rows(summary: SessionSummary) -> Iterable[Sequence[Value]]:
    yield from (("finding", finding.headline) for finding in session_findings(summary))
    for study in summary.studies:
        yield f"{study.name}: finding", study_finding(study).headline
        yield f"{study.name}: verdict", study.verdict
        yield f"{study.name}: command", study.command
        yield from ((f"{study.name}: variable {name}", value) for name, value in study.environment.items())
        yield from _study_facts(study)
    yield from (("golden recorded", case) for case in summary.golden_recorded)
    yield "session", summary.session_id
    yield "started", summary.started_at
    yield "duration (s)", round(summary.duration, 1)
    yield "root directory", summary.rootdir
    yield "engines", ", ".join(summary.engines)


def _study_facts(study: StudySummary) -> Iterator[Sequence[Value]]:
    if study.config_file:
        yield f"{study.name}: {study.config_file}", study.config_text
    if study.stopped:
        yield f"{study.name}: stopped", study.stopped
    for entry in study.confirmations:
        launches = len(entry.runs) + len(entry.failures)
        yield f"{study.name}: {entry.role}", f"limits missed in {entry.broken} of {launches} launches"
    yield from ((f"{study.name}: not tried", sentence) for sentence in study.untried)


def _field_names(studies: Sequence[StudySummary]) -> list[str]:
    return list(dict.fromkeys(name for study in studies for trial in study.trials for name in trial.fields))


def _metric_names(studies: Sequence[StudySummary]) -> list[str]:
    return list(
        dict.fromkeys(name for study in studies for name in (study.objective, *study.objectives, *study.subject_to))
    )


def _study_columns(studies: Sequence[StudySummary]) -> tuple[Column, ...]:
    plain = ("study", "engine", "trial", "role", "on the front")
    metrics = (Column(with_unit(name), number_format(name)) for name in _metric_names(studies))
    rest = ("took (s)", "failure", "reason", "end of the log")
    return (
        *map(Column, plain),
        Column("state", coloured=True),
        *metrics,
        *(Column(name) for name in _field_names(studies)),
        *(Column(name, FIGURE) for name in rest),
    )


def _study_rows(studies: Sequence[StudySummary]) -> Iterable[Sequence[Value]]:
    metrics, fields = _metric_names(studies), _field_names(studies)
    for study in studies:
        front = on_the_front(study) if tradeoffs_of(study) else ()
        for trial in ranked(study):
            values = {study.objective: trial.value, **trial.metrics}
            roles = [name for name, number in (("winner", study.winner), ("default", 0)) if trial.number == number]
            yield [
                study.name,
                study.engine,
                trial.number,
                " and ".join(roles),
                trial.number in front,
                trial.state,
                *(values.get(name) for name in metrics),
                *(trial.fields.get(name) for name in fields),
                trial.duration,
                trial.failure,
                trial.reason,
                trial.log_tail,
            ]


EFFECT_COLUMNS = (
    *map(Column, ("study", "field")),
    *(Column(name, SHARE) for name in ("importance", "importance, low", "importance, high")),
    *map(Column, ("value", "objective")),
    *(Column(name, FIGURE) for name in ("mean", "low", "high")),
)
"""One row a value of a field: the partial dependence. Low and high enclose 90 %."""


def _effect_rows(studies: Sequence[StudySummary]) -> Iterator[Sequence[Value]]:
    for study in studies:
        shown = number_format(study.objective)
        for effect in study.effects:
            head = (study.name, effect.field, effect.importance, effect.low, effect.high)
            for point in effect.points:
                figures = (Figure(value, shown) for value in (point.mean, point.low, point.high))
                yield (*head, point.value, with_unit(study.objective), *figures)


COMPARISON_COLUMNS = (
    *map(Column, ("case", "engine", "compared with")),
    Column("verdict", coloured=True),
    *map(Column, ("metric", "unit")),
    Column("metric verdict", coloured=True),
    *map(Column, ("decides", "before", "now")),
    *(Column(name, CHANGE) for name in ("change", "change, low", "change, high")),
    *(Column(name, SHARE) for name in ("tolerance", "detectable")),
    Column("p value", "0.0000"),
    *map(Column, ("launches before", "launches now", "reason")),
)
"""`before` is the golden run, or the default of a study."""


def _comparison_rows(summary: SessionSummary) -> Iterable[Sequence[Value]]:
    for study in summary.studies:
        head = (study.name, study.engine, "default", study_finding(study).headline)
        yield from ((*head, *_facts(delta, delta.reason)) for delta in study.deltas)
    for comparison in sorted(summary.comparisons, key=gravity):
        head = (comparison.case, comparison.engine, "golden", comparison_verdict(comparison))
        reason = "; ".join(comparison.reasons)
        yield from ((*head, *_facts(delta, delta.reason or reason)) for delta in comparison.deltas)
        if not comparison.deltas:
            yield (*head, *[None] * (len(COMPARISON_COLUMNS) - len(head) - 1), reason)


def _facts(delta: Delta, reason: str) -> Sequence[Value]:
    shown = number_format(delta.metric)
    return (
        delta.metric,
        delta.unit,
        delta.verdict,
        delta.gates,
        *delta_cells(delta, shown),
        reason,
    )


def _run_columns() -> tuple[Column, ...]:
    plain = ("run", "launch", "case", "engine", "model", "device", "fields", "concurrency", "request rate (1/s)")
    metrics = (Column(with_unit(name), number_format(name)) for name in RUN_METRICS)
    rest = (Column("started", DATE), Column("duration (s)", FIGURE), Column("completed"), Column("failed"))
    return (*map(Column, plain), *metrics, *rest, Column("errors"), Column("whole"), Column("client limited"))


def _run_rows(summary: SessionSummary) -> Iterable[Sequence[Value]]:
    for run in summary.runs:
        yield [
            run.id,
            run.launch_id,
            run.case,
            run.engine,
            run.model,
            run.device,
            field_values(run.fields),
            run.workload.concurrency,
            run.workload.request_rate,
            *(figure(run, name) for name in RUN_METRICS),
            run.started_at,
            run.duration,
            run.completed,
            run.failed,
            run.errors or None,
            run.complete,
            run.client_limited or None,
        ]


DISTRIBUTION_COLUMNS = (
    *map(Column, ("run", "case", "engine", "part", "metric", "n", *STATISTICS)),
    *(Column(name) for q in PERCENTILES for name in (q, f"{q}, low", f"{q}, high")),
)
"""Low and high enclose 95 %, where so many requests support an interval."""


def _distribution_rows(summary: SessionSummary) -> Iterator[Sequence[Value | Figure]]:
    for run in summary.runs:
        for found in statistics_of(run):
            shown = number_format(found.metric)
            figures = (*found.plain, *chain.from_iterable(found.percentiles))
            head = (run.id, run.case, run.engine, found.part, with_unit(found.metric), found.n)
            yield (*head, *(Figure(value, shown) for value in figures))


def _distinct(values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else "\n".join(map(str, values))
