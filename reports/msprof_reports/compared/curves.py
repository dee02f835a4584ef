"""Two distributions as steps over one axis, and the launches of both sides in the order they were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msprof_reports.charts import element
from pytest_msprof.side_by_side import Row, Side, SideBySide
from pytest_msprof.side_table import figure

__all__ = ["Portrait", "portraits"]

WIDTH, HEIGHT = 300.0, 120.0
"""Of the drawing inside its frame, which is stretched to the page."""
TICKS = (0.0, 0.5, 1.0)
PREFERRED = ("p50", "mean", "value")
"""The statistic whose course stands for a metric, where no other decides."""
FEWEST_RUNS = 3
FEW = 3


class Portrait(NamedTuple):
    """All that is drawn of one metric."""

    rows: Sequence[Row]
    """The statistics that decide, the first few where none does."""
    distribution: str
    """The two distributions, empty where nobody kept the values."""
    history: str
    """Its launches in time, empty for one a side."""
    shown: str
    """The statistic whose launches are drawn."""


def portraits(comparison: SideBySide) -> Iterator[Portrait]:
    """Yield what is drawn of each metric, in the order of the rows."""
    metrics: dict[str, list[Row]] = {}
    for row in comparison.rows:
        metrics.setdefault(row.metric, []).append(row)
    for rows in metrics.values():
        row = min(rows, key=_rank)
        distribution, history = _distributions(comparison, row), _history(comparison, row)
        if distribution or history:
            deciding = [row for row in rows if row.delta.gates]
            yield Portrait(deciding or rows[:FEW], distribution, history, row.statistic)


def _rank(row: Row) -> tuple[bool, int]:
    place = PREFERRED.index(row.statistic) if row.statistic in PREFERRED else len(PREFERRED)
    return not row.delta.gates, place


def _distributions(comparison: SideBySide, row: Row) -> str:
    """Draw which share of the values lies below each: golden and input as two lines."""
    drawn = [(kind, side.shapes.get(row.metric, ())) for kind, side in _sides(comparison)]
    values = [value for _, shape in drawn for value in shape]
    if not values:
        return ""
    low, high = min(values), max(values)
    lines = [_steps(shape, low, high, kind) for kind, shape in drawn if shape]
    counts = "; ".join(f"{kind}: median {figure(row, shape[len(shape) // 2])}" for kind, shape in drawn if shape)
    label = f"distribution of {row.key}: {counts}"
    shares = [f"{share:.0%}" for share in TICKS]
    return _frame(lines, [figure(row, low), figure(row, (low + high) / 2), figure(row, high)], shares, label)


def _steps(shape: Sequence[float], low: float, high: float, kind: str) -> str:
    """Return the empirical distribution function of *shape*, which is in order."""
    span = high - low or 1.0
    path, last = [f"M0 {HEIGHT:g}"], len(shape)
    for place, value in enumerate(shape, start=1):
        path.append(f"H{WIDTH * (value - low) / span:.4g}V{HEIGHT * (1 - place / last):.4g}")
    return element("path", d=f"{''.join(path)}H{WIDTH:g}", class_=kind)


def _history(comparison: SideBySide, row: Row) -> str:
    """Draw one statistic launch by launch, golden before input."""
    sides = [(kind, _values(side, row)) for kind, side in _sides(comparison)]
    values = [value for _, found in sides for value in found]
    if len(values) < FEWEST_RUNS:
        return ""
    low, high = min(values), max(values)
    parts, place = [], 0
    for kind, found in sides:
        points = [
            (WIDTH * (place + index + 0.5) / len(values), HEIGHT * (1 - _share(value, low, high)))
            for index, value in enumerate(found)
        ]
        place += len(found)
        parts += [
            element("polyline", points=" ".join(f"{x:.4g},{y:.4g}" for x, y in points), class_=kind),
            *(element("path", d=f"M{x:.4g} {y:.4g}h0", class_=f"{kind} mark") for x, y in points),
        ]
    across = [f"launch 1 of {len(values)}", "", str(len(values))]
    told = "; ".join(f"{kind}: {', '.join(figure(row, value) for value in found)}" for kind, found in sides if found)
    label = f"{row.key} {row.statistic} by launch: {told}"
    return _frame(parts, across, [figure(row, low), "", figure(row, high)], label)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _values(side: Side, row: Row) -> list[float]:
    return [source.figures[row.name] for source in side.sources if row.name in source.figures]


def _sides(comparison: SideBySide) -> tuple[tuple[str, Side], tuple[str, Side]]:
    return ("golden", comparison.golden), ("input", comparison.input)


def _frame(parts: Sequence[str], across: Sequence[str], upward: Sequence[str], label: str) -> str:
    """Set a drawing between its two axes; lines keep their width however it is stretched, text its size."""
    rules = [element("path", d=f"M0 {HEIGHT * share:g}H{WIDTH:g}", class_="rule") for share in TICKS]
    inner = element("svg", *rules, *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", preserveAspectRatio="none")
    low, middle, high = upward
    vertical = "".join(
        element("text", text, x=0, y=y, class_="tick") for text, y in ((high, 10), (middle, 68), (low, 126))
    )
    places = (("0%", "start"), ("50%", "middle"), ("100%", "end"))
    horizontal = "".join(
        element("text", text, x=x, y=14, class_=f"tick {anchor}")
        for text, (x, anchor) in zip(across, places, strict=True)
    )
    return (
        element("svg", vertical, class_="upward", aria_hidden="true", width=56, height=130)
        + element("svg", inner, class_="drawn", role="img", aria_label=label, height=HEIGHT + 8)
        + element("svg", horizontal, class_="across", aria_hidden="true", height=18)
    )
