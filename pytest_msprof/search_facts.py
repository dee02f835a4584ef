"""What a search came to, drawn from its trials: how soon it was good, what it gave up, what failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pytest_msprof.metrics import METRICS
from pytest_msprof.summary import StudySummary, TrialRecord
from pytest_msprof.tradeoffs import front

__all__ = [
    "Point",
    "Step",
    "best_so_far",
    "failures_by_class",
    "figures_of",
    "higher_is_better",
    "on_the_front",
    "search_trace",
    "tradeoffs_of",
]


def higher_is_better(name: str, study: StudySummary | None = None) -> bool:
    """Return the direction of a metric; for one that is not in our table, what its delta says."""
    if entry := METRICS.get(name.partition(".")[0]):
        return entry.better == "higher"
    said = (delta.better for delta in study.deltas if delta.metric == name) if study else iter(())
    return next(said, None) != "lower"


class Step(NamedTuple):
    """A trial that was better than all before it."""

    number: int
    value: float
    seconds: float
    """How long the trials took until it was known, all of them added up."""


class Point(NamedTuple):
    """How far the search was once one more trial was known."""

    trial: TrialRecord
    seconds: float
    """How long the trials took up to this one, all of them added up."""
    best: float | None
    """The best objective within the limits so far, None before there was one."""
    is_better: bool
    """Whether this trial brought it."""


def search_trace(study: StudySummary) -> Iterator[Point]:
    """Yield how far the search was after each trial, in their order."""
    sign, best, seconds = 1 if higher_is_better(study.objective, study) else -1, None, 0.0
    for trial in study.trials:
        seconds += trial.duration or 0.0
        value = trial.value if trial.state == "measured" else None
        is_better = value is not None and math.isfinite(value) and (best is None or sign * value > sign * best)
        best = value if is_better else best
        yield Point(trial, seconds, best, is_better)


def best_so_far(study: StudySummary) -> list[Step]:
    """Return the trials that met the limits and were better than all before them, in their order."""
    return [
        Step(point.trial.number, point.best, point.seconds)
        for point in search_trace(study)
        if point.is_better and point.best is not None
    ]


def tradeoffs_of(study: StudySummary) -> list[tuple[str, str]]:
    """Return the pairs of metrics whose trade-off a study is about.

    Those are the first of several objectives with each other one, else the objective with each constrained metric.
    """
    first, *others = study.objectives or dict.fromkeys((study.objective, *study.subject_to))
    return [(first, other) for other in others]


def on_the_front(study: StudySummary, *names: str) -> list[int]:
    """Return the numbers of the trials that no other beats in *names* (the Pareto front).

    Without *names* that is the front of several objectives, else of the objective and every
    constrained metric. A limit that is missed does not count in the latter: it shows what a looser
    limit would allow.
    """
    if study.front and not names:
        return list(study.front)
    names = names or tuple(dict.fromkeys((study.objective, *study.subject_to)))
    rows = {trial.number: figures_of(study, trial, names) for trial in study.trials}
    whole = {number: row for number, row in rows.items() if len(row) == len(names)}
    maximize = [higher_is_better(name, study) for name in names]
    return [list(whole)[place] for place in front(list(whole.values()), maximize)]


def figures_of(study: StudySummary, trial: TrialRecord, names: Sequence[str]) -> list[float]:
    """Return the figures of a trial that it has; none of a trial that failed."""
    known = {study.objective: trial.value, **trial.metrics}
    found = [] if trial.state == "failed" else [known.get(name) for name in names]
    return [value for value in found if value is not None and math.isfinite(value)]


def failures_by_class(study: StudySummary) -> dict[str, list[TrialRecord]]:
    """Return the trials that failed by class of failure, the most frequent first."""
    found: dict[str, list[TrialRecord]] = {}
    for trial in study.trials:
        if trial.state == "failed":
            found.setdefault(trial.failure or "failed", []).append(trial)
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))
