"""What each field does to the objective, as a row of small charts: a line, and a band for what is not known."""

from __future__ import annotations

from collections.abc import Sequence

from msprof_reports.charts import Scale, element, percentage
from pytest_msprof.display import metric_value
from pytest_msprof.scales import shown
from pytest_msprof.summary import Effect, EffectPoint, StudySummary

__all__ = ["effect_chart", "importance", "reach"]

HEIGHT = 84
MOST_NAMED = 4
"""Values of a listed field that are all named below its chart."""

LONGEST = 12
"""Characters of a value's name below a chart."""


def importance(effect: Effect) -> str:
    """Return the importance with its interval: `94% (70% to 100%)`."""
    return f"{effect.importance:.0%} ({effect.low:.0%} to {effect.high:.0%})"


def reach(study: StudySummary, effect: Effect) -> str:
    """Return between which means the objective moves with the field: `387 token/s to 1,498 token/s`."""
    means = [point.mean for point in effect.points]
    return f"{metric_value(study.objective, min(means))} to {metric_value(study.objective, max(means))}"


def effect_chart(study: StudySummary, effect: Effect) -> str:
    """Draw the partial dependence of one field; all of a study share the scale, so that what matters looks so."""
    ends = [end for other in study.effects for point in other.points for end in (point.low, point.high)]
    scale = Scale.over(ends)
    points = effect.points
    across = [(index + 0.5) / len(points) for index in range(len(points))]
    band = [
        *zip(across, (point.high for point in points), strict=True),
        *zip(reversed(across), (point.low for point in reversed(points)), strict=True),
    ]
    line = list(zip(across, (point.mean for point in points), strict=True))
    drawing = element(
        "svg",
        element("polygon", points=_path(band, scale), class_="band"),
        element("polyline", points=_path(line, scale), class_="course"),
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        height=HEIGHT,
    )
    marks = [_mark(study, point, x, scale) for point, x in zip(points, across, strict=True)]
    names = [_name(points, index, x) for index, x in enumerate(across)]
    label = f"{study.objective} by {effect.field}, importance {importance(effect)}"
    ground = element("line", x1="0", x2="100%", y1=HEIGHT, y2=HEIGHT, class_="rule")
    return element(
        "svg", ground, drawing, *marks, *names, class_="chart effect", role="img", aria_label=label, height=HEIGHT + 20
    )


def _path(points: Sequence[tuple[float, float]], scale: Scale) -> str:
    return " ".join(f"{100 * x:.4g},{100 * (1 - scale.place(y)):.4g}" for x, y in points)


def _mark(study: StudySummary, point: EffectPoint, x: float, scale: Scale) -> str:
    mean, low, high = (metric_value(study.objective, value) for value in (point.mean, point.low, point.high))
    title = element("title", f"{shown(point.value)}: {mean} ({low} to {high})")
    y = HEIGHT * (1 - scale.place(point.mean))
    return element("circle", title, cx=percentage(x), cy=y, r=2.5, class_="dot")


def _name(points: Sequence[EffectPoint], index: int, x: float) -> str:
    """Name every value where there is room for them, else the first and the last."""
    is_end = index in (0, len(points) - 1)
    if len(points) <= MOST_NAMED:
        place, anchor = percentage(x), "middle"
    elif is_end:
        place, anchor = ("100%", "end") if index else ("0", "start")
    else:
        return ""
    text = shown(points[index].value)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return element("text", text, x=place, y=HEIGHT + 15, class_=f"tick {anchor}")
