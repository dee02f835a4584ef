"""A comparison for the terminal: one line a figure, in the manner of benchstat, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from pytest_msprof.display import change, percent, rate, seconds
from pytest_msprof.side_by_side import GATING, Row, SideBySide

__all__ = ["lines"]

COLUMNS = 80
NAME, VALUE = 24, 8
SMALLEST_P = 0.001
SETTLED = ("improved", "regressed", "unchanged")


def lines(found: SideBySide) -> Iterator[str]:
    """Yield the table, why there is no verdict where there is none, and the verdict."""
    yield f"{'':<{NAME}} {'golden':>{VALUE}} {'input':>{VALUE}} {'change':>8}"
    for dimension in dict.fromkeys(row.dimension for row in found.rows):
        yield dimension
        shown = (row for row in found.rows if row.dimension == dimension and _is_shown(row))
        yield from (_line(row)[:COLUMNS].rstrip() for row in shown)
    for sentence in (*_refusals(found), *_why(row for row in found.gating if row.delta.reason and not found.reasons)):
        yield from wrap(sentence, COLUMNS, subsequent_indent="  ")
    yield f"verdict: {found.verdict}"


def _refusals(found: SideBySide) -> list[str]:
    return [f"incomparable: {reason}" for reason in found.reasons]


def _is_shown(row: Row) -> bool:
    """Leave the extremes to the tables, unless they decide."""
    return row.statistic in GATING or row.delta.gates


def _line(row: Row) -> str:
    delta = row.delta
    name = f"  {row.key}" if row.statistic == "value" else f"  {row.key}.{row.statistic}"
    values = f"{figure(row, delta.golden):>{VALUE}} {figure(row, delta.current):>{VALUE}}"
    return f"{_fitted(name):<{NAME}} {values} {change(delta.change):>8}  {_verdict(row)}"


def figure(row: Row, value: float | None) -> str:
    """Write a figure of *row*: times scaled, rates without the unit that its name implies."""
    if row.delta.unit in ("s", "s/token"):
        return seconds(value).replace(" ", "")
    return percent(value) if row.delta.unit == "1" else rate(value, "")


def _verdict(row: Row) -> str:
    delta = row.delta
    if row.is_missing:
        return delta.reason
    evidence = f"n={delta.launches_golden}+{delta.launches_current}"
    if delta.p_value is not None:
        chance = f"p={delta.p_value:.3f}" if delta.p_value >= SMALLEST_P else f"p<{SMALLEST_P}"
        evidence = f"{chance} {evidence}"
    word = delta.verdict if delta.verdict in SETTLED else "~"
    return f"{word} ({evidence})"


def _fitted(name: str) -> str:
    """Keep both ends of a name that is too long, for its statistic stands at the end."""
    return name if len(name) <= NAME else f"{name[: NAME - 13]}…{name[-12:]}"


def _why(rows: Iterable[Row]) -> Iterator[str]:
    """Say each reason once, with the first metric it holds for."""
    told: dict[str, list[str]] = {}
    for row in rows:
        told.setdefault(row.delta.reason, []).append(row.name)
    for reason, names in told.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{_fitted(names[0])}{more}: {reason}"
