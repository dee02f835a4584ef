"""Charts of a search as a whole: how soon it was good, and what it had to give up for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest

from msprof_reports.charts import FLOOR, TOP, Scale, axis_unit, element, height, percentage, rules
from pytest_msprof.display import field_values, metric_value
from pytest_msprof.search_facts import best_so_far, figures_of, higher_is_better, on_the_front
from pytest_msprof.summary import StudySummary, TrialRecord

__all__ = ["front_chart", "minutes_chart"]

AXIS = FLOOR + 20
MINUTE = 60
DECADE = (1.0, 2.0, 5.0)
"""Ticks of a logarithmic axis."""
MOST_TICKS = 7
APART = 8
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
EDGE = 0.03
GAP = 0.14
"""Share of the width that two labels need between them."""


def minutes_chart(study: StudySummary) -> str:
    """Draw the best so far over the minutes that the trials took, added up; empty where nobody timed them."""
    course = best_so_far(study)
    total = sum(trial.duration or 0.0 for trial in study.trials) / MINUTE
    if not course or total <= 0:
        return ""
    scale, across = (
        Scale.over([step.value for step in course], from_zero=True),
        Scale.over([0.0, total], from_zero=True),
    )
    parts = [*rules(scale, study.objective), *_minutes(across)]
    for step, following in zip_longest(course, course[1:]):
        x, y = across.place(step.seconds / MINUTE), height(scale, step.value)
        end = across.place(following.seconds / MINUTE if following else total)
        parts.append(_line(x, y, end, y))
        if following:
            parts.append(_line(end, y, end, height(scale, following.value)))
        title = element("title", f"trial {step.number} after {step.seconds / MINUTE:.1f} min")
        parts.append(element("circle", title, cx=percentage(x), cy=y, r=4, class_="dot measured"))
    label = f"best {study.objective} over {total:.1f} minutes"
    return element("svg", *parts, class_="chart trials", role="img", aria_label=label, height=AXIS + 6)


def _minutes(across: Scale) -> Iterator[str]:
    for index, tick in enumerate(across.ticks):
        anchor = "start" if index == 0 else "end" if index == len(across.ticks) - 1 else "middle"
        yield element("text", f"{tick:,.6g}", x=percentage(across.place(tick)), y=AXIS, class_=f"tick {anchor}")


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return element("line", x1=percentage(x1), x2=percentage(x2), y1=y1, y2=y2, class_="best")


class LogScale(Scale):
    """An axis on which a ratio is a distance."""

    def place(self, value: float) -> float:
        """Return where *value* lies, 0 to 1."""
        return math.log(value / self.low) / math.log(self.high / self.low)


def _axis_over(values: Sequence[float]) -> Scale:
    """Return an axis for latencies and the like, logarithmic where they are far apart."""
    low, high = min(values), max(values)
    if not 0 < low * APART < high:
        return Scale.over(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in DECADE]
    first = max(place for place, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(place for place, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    inside = ticks[first : last + 1]
    shown = inside if len(inside) <= MOST_TICKS else [tick for tick in inside if str(tick).strip("0.")[0] == "1"]
    return LogScale(inside[0], inside[-1], tuple(shown))


def front_chart(study: StudySummary, name: str, other: str) -> str:
    """Draw one metric over another, and the front of what no trial beats in both; empty for less than two trials."""
    places = {
        trial.number: (figures[1], figures[0])
        for trial in study.trials
        if len(figures := figures_of(study, trial, (name, other))) == 2  # noqa: PLR2004 - both of them
    }
    if len(places) < 2:  # noqa: PLR2004 - one trial gives up nothing
        return ""
    scale = Scale.over([y for _, y in places.values()], from_zero=True)
    limit = study.subject_to.get(other)
    across = _axis_over([x for x, _ in places.values()] + ([limit] if limit is not None else []))
    front = on_the_front(study, name, other)
    drawn = {number: (across.place(x), height(scale, y)) for number, (x, y) in places.items()}
    parts = [*rules(scale, name), *_axis(across, other)]
    if limit is not None:
        x = across.place(limit)
        parts.append(element("line", x1=percentage(x), x2=percentage(x), y1=TOP - 8, y2=FLOOR, class_="bound"))
        anchor = "end" if x > 1 - GAP else "start"
        parts.append(element("text", "limit", x=percentage(x), y=TOP - 12, class_=f"tick {anchor} halo"))
    parts += _front([drawn[number] for number in front], drops_first=higher_is_better(other, study))
    for number, place in drawn.items():
        parts.append(_dot(study, study.trial(number), (name, other), place, is_on=number in front))
    label = f"{name} over {other} of {len(places)} trials"
    return element("svg", *parts, class_="chart trials", role="img", aria_label=label, height=AXIS + 6)


def _axis(across: Scale, name: str) -> Iterator[str]:
    factor, _ = axis_unit(name, across.high)
    for tick in across.ticks:
        place = across.place(tick)
        anchor = "start" if place < EDGE else "end" if place > 1 - EDGE else "middle"
        yield element("text", f"{tick / factor:,.6g}", x=percentage(place), y=AXIS, class_=f"tick {anchor}")


def _front(places: Sequence[tuple[float, float]], *, drops_first: bool) -> Iterator[str]:
    """Draw the edge of what was reached as a staircase: between two trials nothing is known to be better."""
    for (x, y), (next_x, next_y) in pairwise(sorted(places)):
        corner = next_y if drops_first else y
        yield _line(x, y, x, corner)
        yield _line(x, corner, next_x, corner)
        yield _line(next_x, corner, next_x, next_y)


def _dot(
    study: StudySummary, trial: TrialRecord, names: Sequence[str], place: tuple[float, float], *, is_on: bool
) -> str:
    values = zip(names, figures_of(study, trial, names), strict=True)
    figures = ", ".join(f"{name} {metric_value(name, value)}" for name, value in values)
    title = element("title", f"trial {trial.number}: {figures}\n{field_values(trial.fields)}"[:600])
    state = f"{trial.state}{' winner' if trial.number == study.winner else ''}"
    return element("circle", title, cx=percentage(place[0]), cy=place[1], r=5 if is_on else 3.5, class_=f"dot {state}")
