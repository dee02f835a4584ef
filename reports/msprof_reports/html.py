"""The page for the browser: one file that needs no network, no script and no other file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from msprof_reports import charts, courses, effect_charts, findings, run_statistics, study_charts
from msprof_reports.pages import page_environment
from pytest_msprof import display, search_facts
from pytest_msprof.comparison import Comparison, Delta
from pytest_msprof.results import Value
from pytest_msprof.summary import SessionSummary, StudySummary

__all__ = ["render", "write_html"]

FILE_NAME = "report.html"
SMALLEST_REACH, LARGEST_REACH = 0.1, 1.0
"""Bounds of the scale on which intervals are drawn."""
LARGE_SHARE = 0.1
GLYPHS = {
    "improved": "✓",
    "unchanged": "=",
    "regressed": "✕",
    "inconclusive": "~",
    "descriptive": "·",
    "incomparable": "≠",
    "no golden yet": "○",
    "measured": "✓",
    "infeasible": "○",
    "behind": "○",
    "failed": "✕",
}


def write_html(summary: SessionSummary, folder: Path) -> Path:
    """Write the page into *folder*, whole or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    partial = path.with_suffix(".partial")
    partial.write_text(render(summary), encoding="utf-8", errors="replace")
    os.replace(partial, path)  # noqa: PTH105 - the rename that replaces is the point
    return path


def render(summary: SessionSummary) -> str:
    """Return the page."""
    environment = page_environment()
    environment.filters |= {
        "change": _signed(display.change),
        "duration": display.duration,
        "fields": display.field_values,
        "interval": _signed(display.interval),
        "percent": display.percent,
        "roughly": _roughly,
        "sentence": _sentence,
        "value": _value,
    }
    environment.globals |= {
        "ABSENT": display.ABSENT,
        "axis": _axis,
        "axis_of": _axis_of,
        "course_chart": lambda run: Markup(courses.course_chart(run)),  # noqa: S704 - escapes itself
        "comparison_verdict": findings.comparison_verdict,
        "effect_chart": lambda study, effect: Markup(effect_charts.effect_chart(study, effect)),  # noqa: S704 - escapes itself
        "failures_by_class": search_facts.failures_by_class,
        "figure": findings.figure,
        "front_chart": lambda *of: Markup(study_charts.front_chart(*of)),  # noqa: S704 - escapes itself
        "importance": effect_charts.importance,
        "glyph": GLYPHS.get,
        "interval_chart": lambda delta, reach: Markup(charts.interval_chart(delta, reach)),  # noqa: S704 - escapes itself
        "launch_chart": lambda study: Markup(charts.launch_chart(study)),  # noqa: S704 - escapes itself
        "limit": _limit,
        "metric_value": display.metric_value,
        "minutes_chart": lambda study: Markup(study_charts.minutes_chart(study)),  # noqa: S704 - escapes itself
        "misses": _misses,
        "on_the_front": search_facts.on_the_front,
        "percentiles": run_statistics.PERCENTILES,
        "ranked": findings.ranked,
        "reach": _reach,
        "reach_of": effect_charts.reach,
        "seconds": display.seconds,
        "shell_command": display.shell_command,
        "span": display.span,
        "statistics_of": run_statistics.statistics_of,
        "study_finding": findings.study_finding,
        "tradeoffs_of": search_facts.tradeoffs_of,
        "trial_chart": lambda study: Markup(charts.trial_chart(study)),  # noqa: S704 - escapes itself
    }
    columns, facts = findings.environments(summary)
    found = findings.session_findings(summary)
    worst_first = sorted(summary.comparisons, key=findings.gravity)
    return environment.get_template("report.html.j2").render(
        summary=summary,
        findings=found,
        title=". ".join(finding.headline for finding in found),
        deciding=[(comparison, comparison.gating or comparison.deltas) for comparison in worst_first],
        others=[(comparison, rest) for comparison in worst_first if (rest := _not_deciding(comparison))],
        columns=columns,
        facts=facts,
        device=next((run.device for run in summary.runs if run.device), ""),
        model=next((run.model for run in summary.runs if run.model), ""),
    )


def _signed(show: Callable[..., str]) -> Callable[..., str]:
    """Set a real minus sign, as wide as the plus."""
    return lambda *values: show(*values).replace("-", "\N{MINUS SIGN}")


def _sentence(text: str) -> str:
    """Begin with a capital, unless the first word is a name such as `dtype=bfloat16`."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.isalpha() else text


def _roughly(share: float) -> str:
    """Return a share that is an estimate itself, so without false digits."""
    return f"{share:.0%}" if share >= LARGE_SHARE else f"{share:.1%}"


def _value(value: Value) -> str:
    """Return a fact of the environment on one line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _axis(study: StudySummary) -> str:
    """Return the unit on the axes of a study."""
    values = [trial.value for trial in study.trials if trial.value is not None]
    return charts.axis_unit(study.objective, max(values, default=1.0))[1]


def _axis_of(study: StudySummary, name: str) -> str:
    """Return the unit on the axis of another metric of a study."""
    values = [value for trial in study.trials if (value := trial.metrics.get(name)) is not None]
    return charts.axis_unit(name, max(values, default=1.0))[1]


def _limit(study: StudySummary, name: str) -> str:
    sign = "≥" if search_facts.higher_is_better(name, study) else "≤"
    return f"{sign} {display.metric_value(name, study.subject_to[name])}"


def _misses(study: StudySummary, name: str, value: float | None) -> bool:
    """Whether *value* breaks the constraint on *name*."""
    if value is None or name not in study.subject_to:
        return False
    limit: Any = study.subject_to[name]
    return bool(value < limit if search_facts.higher_is_better(name, study) else value > limit)


def _reach(comparison: Comparison) -> float:
    """Return the change at the edge of the interval charts of *comparison*, the same for all its rows."""
    ends = [abs(end) for delta in comparison.gating or comparison.deltas for end in _ends(delta)]
    return min(max(1.2 * max(ends, default=0.0), SMALLEST_REACH), LARGEST_REACH)


def _not_deciding(comparison: Comparison) -> list[Delta]:
    return [delta for delta in comparison.deltas if not delta.gates] if comparison.gating else []


def _ends(delta: Delta) -> list[float]:
    ends = (delta.low, delta.high, delta.change, delta.tolerance)
    return [end for end in ends if end is not None]
