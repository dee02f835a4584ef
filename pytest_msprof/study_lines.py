"""A study in 80 columns of terminal: the winner and its evidence, then how the search came there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pytest_msprof.display import duration, field_values, load_value, metric_value, shell_command
from pytest_msprof.search_facts import best_so_far, failures_by_class, on_the_front, tradeoffs_of
from pytest_msprof.summary import Confirmation, StudySummary

__all__ = ["WIDTH", "study_lines", "wrapped"]

WIDTH = 80
INDENT = 11
MOST_EFFECTS = 3
MOST_UNTRIED = 4
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
    if study.effects:
        shares = [
            f"{effect.field} {effect.importance:.0%} ({effect.low:.0%} to {effect.high:.0%})"
            for effect in study.effects
        ]
        yield from _named("matters", ", ".join(shares[:MOST_EFFECTS]))
    for failure, trials in failures_by_class(study).items():
        numbers = ", ".join(str(trial.number) for trial in trials)
        plural = "s" * (len(trials) > 1)
        reason = next((trial.reason for trial in trials if trial.reason), "")
        yield from _named(
            "failed", f"{len(trials)} × {failure} (trial{plural} {numbers}){': ' if reason else ''}{reason}"
        )
    for sentence in study.untried[:MOST_UNTRIED]:
        yield from _named("not tried", sentence)
