"""A study in 80 columns of terminal: the winner and its evidence, then how the search came there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain

from pytest_msprof.display import duration, field_value, field_values, load_value, metric_value, shell_command
from pytest_msprof.search_facts import best_so_far, failures_by_class, higher_is_better, on_the_front, tradeoffs_of
from pytest_msprof.summary import Confirmation, Effect, EffectPoint, StudySummary, TrialRecord

__all__ = ["WIDTH", "study_lines", "wrapped"]

WIDTH = 80
INDENT = 11
MOST_EFFECTS = 3
MOST_UNTRIED = 4
MOST_VALUES = 4
"""Values of a field without an order whose objective is told one by one."""
MATTERS = 0.01
"""Share of the variance that a field surely has from which on its course is worth a line."""
BARS = "▁▂▃▄▅▆▇█"
LOG_LINES, LOG_WRAPPED = 2, 3
"""Lines of the log that are shown of each class of failure, and lines of the terminal for each."""
SHORTEST = 2
"""Steps from which on a course is worth a line."""


def study_lines(study: StudySummary) -> Iterator[str]:
    """Yield the lines, the last one empty."""
    states = [trial.state for trial in study.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    name = study.name.rpartition("::")[2]
    yield from wrapped(f"study {name}: {len(states)} of {study.n_trials} trials ({counts or 'none yet'})")
    yield from _named("stopped", study.stopped)
    yield from _named("best", _best(study))
    for confirmation in study.confirmations:
        if confirmation.runs:
            yield from _named(confirmation.role, _confirmed(study, confirmation))
    yield from _named("verdict", study.verdict)
    yield from _searched(study)
    if study.command:
        nevertheless = study.winner != 0 and study.keeps_default
        yield "the search's best, for whoever wants it nevertheless:" if nevertheless else "run it:"
        yield from shell_command(study.command, study.environment).splitlines()
    yield ""


def wrapped(text: str, *, indent: int = 2) -> list[str]:
    """Return *text* on lines of a terminal's width."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _named(name: str, text: str) -> list[str]:
    return wrapped(f"{name + ':':<{INDENT}}{text}", indent=INDENT) if text else []


def _best(study: StudySummary) -> str:
    if study.winner is None:
        return ""
    best = study.trial(study.winner)
    name = "the default" if best.number == 0 else field_values(best.fields)
    roles = [entry.role for entry in study.confirmations if entry.number == best.number]
    name += " (the search's runner-up, ahead when confirmed)" if roles == ["runner-up"] else ""
    return name if best.load is None else f"{name} under {load_value(study.workload, best.load)}"


def _confirmed(study: StudySummary, confirmation: Confirmation) -> str:
    figures = []
    for metric in dict.fromkeys((study.objective, *study.objectives, *study.subject_to)):
        values = [run.value(metric) for run in confirmation.runs]
        figures.append(f"{metric} {metric_value(metric, sum(values) / len(values))}")
    measured = len(confirmation.runs)
    launches = f"{measured} launch{'es' * (measured != 1)}"
    broken = f", limits missed in {confirmation.broken}" if confirmation.broken else ""
    failed = f", {len(confirmation.failures)} more failed" if confirmation.failures else ""
    ahead = " ← best" if confirmation.number == study.winner and confirmation.role == "runner-up" else ""
    return f"{', '.join(figures)} ({launches}{broken}{failed}){ahead}"


def _searched(study: StudySummary) -> Iterator[str]:
    """Yield how the search came there: its course, the front, what matters, what failed, what was left out."""
    course = best_so_far(study)
    if len(course) >= SHORTEST:
        steps = [
            f"{metric_value(study.objective, step.value)} (trial {step.number}, {duration(step.seconds)})"
            for step in course
        ]
        yield from _named("search", ", ".join(steps))
    front = on_the_front(study) if tradeoffs_of(study) else []
    if len(front) >= SHORTEST:
        names = ", ".join(study.objectives or dict.fromkeys((study.objective, *study.subject_to)))
        yield from _named("front", f"trials {', '.join(map(str, front))}: no other beats them in all of {names}")
    yield from _what_matters(study)
    for failure, trials in failures_by_class(study).items():
        yield from _failed(failure, trials)
    yield from chain.from_iterable(_named("not tried", sentence) for sentence in study.untried[:MOST_UNTRIED])
    yield from _named("not tried", _more(study.untried[MOST_UNTRIED:]))


def _more(left: Sequence[object]) -> str:
    return f"… and {len(left)} more" if left else ""


def _what_matters(study: StudySummary) -> Iterator[str]:
    """Yield what share of the variance each field has, then the course of the objective over those that matter."""
    shares = [
        f"{effect.field} {effect.importance:.0%} ({effect.low:.0%} to {effect.high:.0%})" for effect in study.effects
    ]
    shown = [*shares[:MOST_EFFECTS], _more(shares[MOST_EFFECTS:])]
    yield from _named("matters", ", ".join(filter(None, shown)))
    for effect in study.effects[:MOST_EFFECTS]:
        if effect.low >= MATTERS:
            yield from _named("effect", _course(study, effect))


def _course(study: StudySummary, effect: Effect) -> str:
    """Return the objective over the values of a field: bars and what stands out, or each value where none is larger."""
    points = effect.points
    if not all(isinstance(point.value, int | float) and not isinstance(point.value, bool) for point in points):
        more = _more(points[MOST_VALUES:])
        figures = _figures(study.objective, points[:MOST_VALUES])
        return f"{effect.field} {figures}{', ' if more else ''}{more}"
    return f"{effect.field} {_bars(points)} {_figures(study.objective, _outstanding(study, points))}"


def _outstanding(study: StudySummary, points: Sequence[EffectPoint]) -> list[EffectPoint]:
    """Return both ends, and the best value between them where it is surely better than either."""
    first, last, sign = points[0], points[-1], 1 if higher_is_better(study.objective, study) else -1
    best = max(points, key=lambda point: sign * point.mean)
    is_surely_better = not any(end.low <= best.mean <= end.high for end in (first, last))
    return [first, best, last] if is_surely_better else [first, last]


def _bars(points: Sequence[EffectPoint]) -> str:
    """Return a bar a value; their scale spans the uncertainty, so that what is all noise looks flat."""
    low, high = min(point.low for point in points), max(point.high for point in points)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((point.mean - low) * steps)] for point in points)


def _figures(metric: str, points: Sequence[EffectPoint]) -> str:
    """Return means with their 90 % intervals: `8: 1,155 (1,010–1,277), 128: 1,437 (1,375–1,514) token/s`."""
    texts = [[metric_value(metric, value) for value in (point.mean, point.low, point.high)] for point in points]
    units = {text.partition(" ")[2] for row in texts for text in row}
    unit = f" {units.pop()}" if len(units) == 1 else ""
    bare = [[text.removesuffix(unit) for text in row] for row in texts]
    told = zip(points, bare, strict=True)
    figures = [f"{field_value(point.value)}: {mean} ({low}–{high})" for point, (mean, low, high) in told]
    return f"{', '.join(figures)}{unit}".rstrip()


def _failed(failure: str, trials: Sequence[TrialRecord]) -> Iterator[str]:
    """Yield how many trials failed in one way, why the first of them did, and the end of its log."""
    numbers = ", ".join(str(trial.number) for trial in trials)
    plural = "s" * (len(trials) > 1)
    shown = next((trial for trial in trials if trial.reason), trials[0])
    reason = f": {shown.reason}" if shown.reason else ""
    yield from _named("failed", f"{len(trials)} × {failure} (trial{plural} {numbers}){reason}")
    log = [line for line in shown.log_tail.splitlines() if line.strip()]
    for place, line in enumerate(log[-LOG_LINES:]):
        yield from textwrap.wrap(
            line.strip(),
            WIDTH,
            initial_indent=f"{'' if place else 'log:':<{INDENT}}",
            subsequent_indent=" " * (INDENT + 2),
            max_lines=LOG_WRAPPED,
            placeholder=" …",
        )
