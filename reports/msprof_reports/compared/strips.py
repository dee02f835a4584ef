"""The launches of both sides as dots on one scale: how far they scatter, and in which order they came."""

from __future__ import annotations

from collections.abc import Sequence

from msprof_reports.charts import element
from pytest_msprof.side_by_side import Row, Side, SideBySide
from pytest_msprof.side_table import figure

__all__ = ["launch_strip"]

HEIGHT, GOLDEN, CURRENT = 26, 8, 18
MARGIN = 0.04


def launch_strip(comparison: SideBySide, row: Row) -> str:
    """Draw one dot a launch, golden above, input below; nothing where nobody measured twice."""
    golden, current = _values(comparison.golden, row), _values(comparison.input, row)
    everything = [*golden, *current]
    if max(len(golden), len(current)) < 2 or not min(len(golden), len(current)):  # noqa: PLR2004 - one has no spread
        return ""
    low, high = min(everything), max(everything)
    dots = [*_dots(golden, low, high, GOLDEN, "launch"), *_dots(current, low, high, CURRENT, "dot")]
    label = f"golden: {_spoken(row, golden)}; input: {_spoken(row, current)}"
    return element("svg", *dots, class_="interval launches", role="img", aria_label=label, height=HEIGHT)


def _values(side: Side, row: Row) -> list[float]:
    return [source.figures[row.name] for source in side.sources if row.name in source.figures]


def _dots(values: Sequence[float], low: float, high: float, y: float, kind: str) -> list[str]:
    span = high - low or 1.0
    places = (MARGIN + (1 - 2 * MARGIN) * (value - low) / span for value in values)
    return [element("circle", cx=f"{100 * place:.4g}%", cy=y, r=3.5, class_=kind) for place in places]


def _spoken(row: Row, values: Sequence[float]) -> str:
    return ", ".join(figure(row, value) for value in values)
