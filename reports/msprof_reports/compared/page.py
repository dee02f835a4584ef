"""The page of a comparison: one file that needs no network, no script and no other file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from markupsafe import Markup

from msprof_reports.charts import interval_chart
from msprof_reports.compared.curves import Portrait, portraits
from msprof_reports.compared.strips import launch_strip
from msprof_reports.pages import page_environment
from pytest_msprof import display
from pytest_msprof.side_by_side import Row, Side, SideBySide
from pytest_msprof.side_table import figure
from pytest_msprof.verdicts import Verdict

__all__ = ["render", "write_page"]

TONES = {"improved": "good", "unchanged": "good", "regressed": "bad", "incomparable": "bad"}
TITLES = {
    "service": "Service",
    "request": "Requests",
    "batch": "Batches",
    "spans": "Spans",
    "benchmarks": "Benchmarks",
}
SMALLEST_REACH, LARGEST_REACH = 0.1, 1.0
"""Bounds of the scale on which intervals are drawn."""
PORTRAITS = 8
"""Metrics that are drawn unfolded."""
_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""Worst first."""
MOST = 2_000
"""Lines of a table that a browser scrolls without effort."""
MINUS = "\N{MINUS SIGN}"


class _Group(NamedTuple):
    """The rows of one dimension."""

    title: str
    rows: Sequence[Row]


def write_page(comparison: SideBySide, path: Path) -> None:
    """Write the page to *path*."""
    path.write_text(render(comparison), encoding="utf-8", errors="replace")


def render(comparison: SideBySide) -> str:
    """Return the page."""
    environment = page_environment()
    reach = _reach(comparison.rows)
    environment.globals |= {
        "change": lambda value: display.change(value).replace("-", MINUS),
        "interval": lambda delta: display.interval(delta.low, delta.high).replace("-", MINUS),
        "interval_chart": lambda delta: Markup(interval_chart(delta, reach)),  # noqa: S704 - escapes itself
        "strip": lambda row: Markup(launch_strip(comparison, row)),  # noqa: S704 - escapes itself
        "percent": display.percent,
        "figure": figure,
    }
    return environment.get_template("comparison.html.j2").render(
        comparison=comparison,
        tone=TONES.get(comparison.verdict, "unsure"),
        deciding=sorted(comparison.gating, key=lambda row: _VERDICTS.index(row.delta.verdict)),
        tally=_tally(comparison),
        groups=list(_groups(comparison)),
        facts=_facts(comparison),
        portraits=[_safe(drawn) for drawn in sorted(portraits(comparison), key=_gravity)],
        shown=PORTRAITS,
        most=MOST,
        sizes=_sizes(comparison),
        has_history=max(comparison.input.launches, comparison.golden.launches) > 1,
    )


def _groups(comparison: SideBySide) -> list[_Group]:
    dimensions = dict.fromkeys(row.dimension for row in comparison.rows)
    return [_Group(TITLES[name], [row for row in comparison.rows if row.dimension == name]) for name in dimensions]


def _tally(comparison: SideBySide) -> str:
    """Count the verdicts: `2 regressed, 14 unchanged`."""
    counts = Counter(row.delta.verdict for row in comparison.gating)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict])


def _gravity(drawn: Portrait) -> int:
    """Put metrics first that changed."""
    return min((_VERDICTS.index(row.delta.verdict) for row in drawn.rows if row.delta.gates), default=len(_VERDICTS))


def _safe(drawn: Portrait) -> Portrait:
    """Let the template show drawings, which escape what they show."""
    return drawn._replace(distribution=Markup(drawn.distribution), history=Markup(drawn.history))  # noqa: S704


def _facts(comparison: SideBySide) -> dict[str, tuple[str, str]]:
    """Return what each side says of itself, its load and its machine, side by side."""
    told = [
        [{"read from": source.kind, **source.identity, **source.environment} for source in side.sources]
        for side in _sides(comparison)
    ]
    names = dict.fromkeys(name for side in told for facts in side for name in facts)
    return {name: (_distinct(told[0], name), _distinct(told[1], name)) for name in names}


def _sides(comparison: SideBySide) -> tuple[Side, Side]:
    return comparison.golden, comparison.input


def _distinct(side: Sequence[Mapping[str, str]], name: str) -> str:
    return ", ".join(dict.fromkeys(facts[name] for facts in side if facts.get(name))) or display.ABSENT


def _sizes(comparison: SideBySide) -> list[tuple[int, int, int]]:
    golden, current = comparison.golden.histogram, comparison.input.histogram
    return [(size, golden.get(size, 0), current.get(size, 0)) for size in sorted(golden | current)]


def _reach(rows: Sequence[Row]) -> float:
    """Return the change at the edge of every interval chart, the same for all rows."""
    ends = [abs(end) for row in rows for end in (row.delta.low, row.delta.high, row.delta.change) if end is not None]
    return min(max(1.2 * max(ends, default=0.0), SMALLEST_REACH), LARGEST_REACH)
