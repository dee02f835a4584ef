"""Charts as inline SVG: places across are percentages, so text keeps its size on every screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from statistics import fmean, geometric_mean

from msprof_reports.findings import figure
from pytest_msprof.comparison import Delta
from pytest_msprof.display import change, field_values, interval, metric_value
from pytest_msprof.metrics import METRICS
from pytest_msprof.search_facts import best_so_far
from pytest_msprof.summary import Confirmation, StudySummary, TrialRecord

__all__ = [
    "FLOOR",
    "TOP",
    "Scale",
    "axis_unit",
    "element",
    "height",
    "interval_chart",
    "launch_chart",
    "percentage",
    "rules",
    "trial_chart",
]

TOP, FLOOR, FAILED_LINE, LABEL_LINE = 26, 176, 196, 218
"""Heights in the trial chart: highest value, lowest value, failed trials, trial numbers."""
ROW, TRACK = 54, 26
"""Height of a configuration in the launch chart, and of the line its launches stand on."""
MANY = 40
"""Trials beyond which marks shrink."""
EDGE = 0.12
"""Share of the width beside an edge where a name leans inwards."""
CROSS = "\N{MULTIPLICATION SIGN}"
FAR = 0.5
"""Values whose smallest is below this share of the largest are drawn from zero."""


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from *low* to *high* with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], *, from_zero: bool = False) -> Scale:
        """Cover *values*; start at zero when asked to, or when they are far apart."""
        top, bottom = max(values, default=1.0), min(values, default=0.0)
        if from_zero or 0 <= bottom < FAR * top:
            bottom = min(bottom, 0.0)
        step = _round_step((top - bottom) or abs(top) or 1.0)
        first, last = math.floor(bottom / step + 1e-9), math.ceil(top / step - 1e-9)
        last = max(last, first + 1)
        return cls(first * step, last * step, tuple(step * index for index in range(first, last + 1)))

    def place(self, value: float) -> float:
        """Return where *value* lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def _round_step(span: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that divides *span* into about four."""
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def trial_chart(study: StudySummary) -> str:
    """Draw the objective of each trial, and the best so far among those that met the constraints."""
    trials = study.trials
    values = [value for trial in trials if (value := _value(trial)) is not None]
    scale = Scale.over(values, from_zero=True)
    across = {trial.number: (index + 0.5) / len(trials) for index, trial in enumerate(trials)}
    parts = [
        *rules(scale, study.objective),
        *_best_so_far(study, scale, across),
        *(_mark(study, trial, scale, across[trial.number]) for trial in trials),
        *_names(study, scale, across),
        *_numbers(trials, across),
    ]
    label = f"{study.objective} of {len(trials)} trials"
    return element("svg", *parts, class_="chart trials", role="img", aria_label=label, height=LABEL_LINE + 6)


def _value(trial: TrialRecord) -> float | None:
    return trial.value if trial.value is not None and math.isfinite(trial.value) else None


def axis_unit(name: str, high: float) -> tuple[float, str]:
    """Return the scale and the unit of an axis for the metric *name* up to *high*."""
    known = METRICS.get(name.partition(".")[0])
    if known is None:
        return 1.0, ""
    if known.unit in {"s", "s/token"} and high < 1:
        return 1e-3, known.unit.replace("s", "ms", 1)
    return (0.01, "%") if known.unit == "1" else (1.0, known.unit)


def height(scale: Scale, value: float) -> float:
    """Return how far down *value* stands in a chart between TOP and FLOOR."""
    return FLOOR - (FLOOR - TOP) * scale.place(value)


def rules(scale: Scale, name: str) -> Iterator[str]:
    """Draw the horizontal lines of a chart of the metric *name*, with their figures."""
    factor, _ = axis_unit(name, scale.high)
    for tick in scale.ticks:
        y = height(scale, tick)
        yield element("line", x1="0", x2="100%", y1=y, y2=y, class_="rule")
        yield element("text", f"{tick / factor:,.6g}", x=-8, y=y + 4, class_="tick end")


def _best_so_far(study: StudySummary, scale: Scale, across: dict[int, float]) -> Iterator[str]:
    course = best_so_far(study)
    for step, following in zip_longest(course, course[1:]):
        y, end = height(scale, step.value), across[following.number] if following else 1.0
        yield _line(across[step.number], y, end, y, "best")
        if following:
            yield _line(end, y, end, height(scale, following.value), "best")


def _mark(study: StudySummary, trial: TrialRecord, scale: Scale, x: float) -> str:
    radius = 3 if len(study.trials) > MANY else 4.5
    value = _value(trial)
    what = trial.reason or trial.state if value is None else metric_value(study.objective, value)
    title = element("title", f"trial {trial.number}: {what}\n{field_values(trial.fields)}"[:600])
    if value is None:
        shape = element("text", CROSS, x=percentage(x), y=FAILED_LINE + 5, class_=f"cross {trial.state}")
        return element("g", title, shape)
    ring = " winner" if trial.number == study.winner else ""
    x_place, y = percentage(x), height(scale, value)
    return element("circle", title, cx=x_place, cy=y, r=radius + bool(ring), class_=f"dot {trial.state}{ring}")


def _names(study: StudySummary, scale: Scale, across: dict[int, float]) -> Iterator[str]:
    for number, name in {0: "default", study.winner: "winner"}.items():
        trial = next((trial for trial in study.trials if trial.number == number), None)
        if trial is None or (value := _value(trial)) is None:
            continue
        x = across[trial.number]
        anchor = "start" if x < EDGE else "end" if x > 1 - EDGE else "middle"
        yield element("text", name, x=percentage(x), y=height(scale, value) - 12, class_=f"name {anchor} halo")


def _numbers(trials: Sequence[TrialRecord], across: dict[int, float]) -> Iterator[str]:
    every = max(1, math.ceil(len(trials) / 12))
    for trial in trials[::every]:
        yield element("text", str(trial.number), x=percentage(across[trial.number]), y=LABEL_LINE, class_="tick middle")


def launch_chart(study: StudySummary) -> str:
    """Draw the objective of every fresh launch of winner, runner-up and default, one dot a launch."""
    rows = [(entry, _values(entry, study.objective)) for entry in study.confirmations]
    scale = Scale.over([value for _, values in rows for value in values])
    bottom = ROW * len(rows)
    parts = [*_grid(scale, study.objective, bottom)]
    for index, (entry, values) in enumerate(rows):
        parts += _launches(study, entry, values, scale, top=index * ROW)
    label = f"{study.objective} of each confirmation launch"
    return element("svg", *parts, class_="chart launches", role="img", aria_label=label, height=bottom + 26)


def _values(confirmation: Confirmation, name: str) -> list[float]:
    return [value for run in confirmation.runs if (value := figure(run, name)) is not None]


def _grid(scale: Scale, name: str, bottom: float) -> Iterator[str]:
    factor, _ = axis_unit(name, scale.high)
    for index, tick in enumerate(scale.ticks):
        x = percentage(scale.place(tick))
        anchor = "start" if index == 0 else "end" if index == len(scale.ticks) - 1 else "middle"
        yield element("line", x1=x, x2=x, y1=0, y2=bottom, class_="rule")
        yield element("text", f"{tick / factor:,.6g}", x=x, y=bottom + 18, class_=f"tick {anchor}")


def _launches(
    study: StudySummary, entry: Confirmation, values: Sequence[float], scale: Scale, *, top: float
) -> Iterator[str]:
    y = top + TRACK + 8
    failed = f", {len(entry.failures)} failed" if entry.failures else ""
    yield element("text", f"{entry.role}, trial {entry.number}{failed}", x="0", y=top + 16, class_="name start halo")
    if not values:
        yield element("text", "no launch was measured", x="100%", y=top + 16, class_="tick end halo")
        return
    mean = geometric_mean(values) if min(values) > 0 else fmean(values)
    yield element("text", metric_value(study.objective, mean), x="100%", y=top + 16, class_="name end halo")
    yield _line(0.0, y, 1.0, y, "track")
    for value in values:
        title = element("title", metric_value(study.objective, value))
        state = "winner" if entry.number == study.winner else "other"
        yield element("circle", title, cx=percentage(scale.place(value)), cy=y, r=5, class_=f"launch {state}")
    yield _line(scale.place(mean), y - 10, scale.place(mean), y + 10, "mean")


def interval_chart(delta: Delta, reach: float) -> str:
    """Draw the interval of a change between -*reach* and +*reach*, with the tolerance behind it."""
    if delta.change is None:
        return ""
    parts = []
    if delta.tolerance is not None:
        left, right = _within(-delta.tolerance, reach), _within(delta.tolerance, reach)
        parts.append(element("rect", x=percentage(left), width=percentage(right - left), y=1, height=16, class_="band"))
    parts.append(_line(0.5, 0, 0.5, 18, "zero"))
    if delta.low is not None and delta.high is not None:
        parts.append(_line(_within(delta.low, reach), 9, _within(delta.high, reach), 9, "span"))
    parts.append(element("circle", cx=percentage(_within(delta.change, reach)), cy=9, r=3.5, class_="point"))
    label = f"{change(delta.change)}, interval {interval(delta.low, delta.high)}"
    return element("svg", *parts, class_=f"interval {delta.verdict}", role="img", aria_label=label, height=18)


def _within(value: float, reach: float) -> float:
    return 0.5 + 0.5 * max(-1.0, min(1.0, value / reach))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return element("line", x1=percentage(x1), y1=y1, x2=percentage(x2), y2=y2, class_=kind)


def percentage(share: float) -> str:
    """Return a place across as SVG writes it."""
    return f"{100 * share:.4g}%"


def element(name: str, *children: str, **attributes: str | float) -> str:
    """Write one element of a drawing; text goes into `text` and `title` only, and is escaped there."""
    inner = "".join(children)
    if name in {"text", "title"}:
        inner = escape(inner)
    written = "".join(f' {_attribute(key)}="{_written(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{inner}</{name}>"


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _written(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.5g}"
