"""The course of a run as rows of small lines: what it was second by second."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from pytest_msprof.display import percent, rate, seconds
from pytest_msprof.metrics import METRICS
from pytest_msprof.results import Run
from pytest_msprof.series import Series

__all__ = ["course_chart"]

SHOWN = (
    "running",
    "output_throughput",
    "ttft.p50",
    "failures",
    "server.waiting",
    "server.kv_usage",
    "server.preemptions",
    "host.cpu",
)
"""Series that are drawn of every run which has them, in this order; those of devices follow."""
DEVICES = ("power", "utilization")
SHARES = ("kv_usage", "cpu", "utilization")
MOST_POINTS, FEWEST_POINTS = 120, 3
WIDTH, HEIGHT = 100.0, 24.0


def course_chart(run: Run) -> str:
    """Return a table of lines, empty for a run that nobody watched or that was too short to have a course."""
    rows = [_row(name, thinned) for name in _names(run) if (thinned := _thinned(run.series[name])).values.any()]
    return f'<table class="course">{"".join(rows)}</table>' if rows else ""


def _names(run: Run) -> Iterator[str]:
    long_enough = [name for name, series in run.series.items() if series.times.size >= FEWEST_POINTS]
    yield from (name for name in SHOWN if name in long_enough)
    yield from (name for name in long_enough if name not in SHOWN and name.endswith(DEVICES))


def _thinned(series: Series) -> Series:
    """Return at most `MOST_POINTS` points, each the mean of its neighbours; what was not seen is left out."""
    known = np.isfinite(series.values)
    times, values = series.times[known], series.values[known]
    parts = np.array_split(np.arange(times.size), min(MOST_POINTS, max(times.size, 1)))
    means = [(times[part].mean(), values[part].mean()) for part in parts if part.size]
    return Series(*(np.array(column) for column in zip(*means, strict=True))) if means else Series(times, values)


def _row(name: str, series: Series) -> str:
    top = float(series.values.max())
    across = (series.times - series.times[0]) / ((series.times[-1] - series.times[0]) or 1.0) * WIDTH
    up = HEIGHT - series.values / top * HEIGHT if top > 0 else np.full(across.size, HEIGHT)
    points = " ".join(f"{x:.4g},{y:.4g}" for x, y in zip(across, up, strict=True))
    label = escape(f"{name}, at most {_shown(name, top)}")
    return (
        f'<tr><th scope="row" class="mono">{escape(name)}</th><td>'
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<polyline points="{points}"/></svg></td><td class="number">{escape(_shown(name, top))}</td></tr>'
    )


def _shown(name: str, value: float) -> str:
    """Write a value with the unit of its series."""
    base = name.partition(".")[0]
    if base in METRICS and METRICS[base].unit == "s":
        return seconds(value)
    if name.endswith(SHARES):
        return percent(value)
    unit = METRICS[base].unit if base in METRICS else "W" if name.endswith("power") else ""
    return rate(value, unit)
