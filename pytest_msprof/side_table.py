"""A comparison for the terminal: one line a figure, in the manner of benchstat, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from pytest_msprof.display import change, percent, rate, seconds
from pytest_msprof.side_by_side import GATING, Row, SideBySide

__all__ = ["lines"]

COLUMNS = 80
NAME, VALUE, SPREAD, CHANGE = 23, 8, 5, 8
SMALLEST_P = 0.001
COLOURS = {"improved": "32", "regressed": "31", "incomparable": "33", "inconclusive": "33", "descriptive": "33"}
"""Of a terminal, by verdict."""
SETTLED = ("improved", "regressed", "unchanged")
NO_EVIDENCE = "~"
NAMED = 48
"""Characters of a name in a sentence."""
SHOWN = 5
"""Names that a line lists at most."""
LEGEND = "±: scatter between launches; ~: no evidence, for or against a change"


def lines(found: SideBySide, *, colour: bool = False) -> Iterator[str]:
    """Yield the table, why there is no verdict where there is none, and the verdict; *colour* is for a terminal."""
    paint = _painted if colour else _plain
    yield f"{'':<{NAME}} {'golden':>{VALUE}}{'':<{SPREAD}} {'input':>{VALUE}}{'':<{SPREAD}} {'change':>{CHANGE}}"
    for dimension in dict.fromkeys(row.dimension for row in found.rows):
        yield dimension
        shown = (row for row in found.rows if row.dimension == dimension and _is_shown(row))
        yield from (paint(_line(row)[:COLUMNS].rstrip(), row.delta.verdict) for row in shown)
    yield LEGEND
    for sentence in (*_refusals(found), *_settled(found), *_power(found), *_why(found)):
        yield from wrap(sentence, COLUMNS, subsequent_indent="  ")
    yield paint(f"verdict: {found.verdict}", found.verdict)


def _plain(text: str, _verdict: str) -> str:
    return text


def _painted(text: str, verdict: str) -> str:
    code = COLOURS.get(verdict)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _refusals(found: SideBySide) -> list[str]:
    told = [f"incomparable: {reason}" for reason in found.reasons]
    return [*told, "(what differs on purpose is named by --across)"] if told else []


def _settled(found: SideBySide) -> Iterator[str]:
    """Name what got better and what got worse."""
    for verdict in ("improved", "regressed"):
        names = [row.name for row in found.gating if row.delta.verdict == verdict]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        if names:
            yield f"{verdict}: {', '.join(map(_named, names[:SHOWN]))}{more}"


def _power(found: SideBySide) -> Iterator[str]:
    """Say which changes these launches would have shown, from the surest metric to the least sure."""
    shares = {row.name: row.delta.detectable for row in found.gating if row.delta.p_value is not None}
    known = sorted((share, name) for name, share in shares.items() if share is not None)
    if known:
        (best, surest), (worst, vaguest) = known[0], known[-1]
        rest = f" to {percent(worst)} ({_named(vaguest)})" if len(known) > 1 else ""
        yield f"smallest change that these launches would show: {percent(best)} ({_named(surest)}){rest}"


def _is_shown(row: Row) -> bool:
    """Leave the extremes to the tables, unless they decide."""
    return row.statistic in GATING or row.delta.gates


def _line(row: Row) -> str:
    """Write a figure as benchstat does: `ttft.p50  71.7ms ± 2%  84.9ms ± 3%  +18.5% (p=0.008 n=5+5)`."""
    delta = row.delta
    name = f"  {row.key}" if row.statistic == "value" else f"  {row.key}.{row.statistic}"
    golden, current = (
        f"{figure(row, value):>{VALUE}}{_spread(spread):<{SPREAD}}"
        for value, spread in ((delta.golden, delta.spread_golden), (delta.current, delta.spread_current))
    )
    return f"{_fitted(name):<{NAME}} {golden} {current} {_change(row)}"


def _spread(value: float | None) -> str:
    """Write how far launches scatter, nothing where nobody knows."""
    return "" if value is None else f" ± {min(value, 9.99):.0%}"


def figure(row: Row, value: float | None) -> str:
    """Write a figure of *row*: times scaled, rates without the unit that its name implies."""
    if row.delta.unit in ("s", "s/token"):
        return seconds(value).replace(" ", "")
    return percent(value) if row.delta.unit == "1" else rate(value, "")


def _change(row: Row) -> str:
    """Write the change and what it rests on; a tilde says that this is no evidence."""
    delta = row.delta
    if row.is_missing:
        return delta.reason
    evidence = f"n={delta.launches_golden}+{delta.launches_current}"
    if delta.p_value is not None:
        chance = f"p={delta.p_value:.3f}" if delta.p_value >= SMALLEST_P else f"p<{SMALLEST_P}"
        evidence = f"{chance} {evidence}"
    doubt = "" if delta.verdict in SETTLED else f" {NO_EVIDENCE}"
    return f"{change(delta.change):>{CHANGE}}{doubt} ({evidence})"


def _fitted(name: str, width: int = NAME) -> str:
    """Keep both ends of a name that is too long, for its statistic stands at the end."""
    return name if len(name) <= width else f"{name[: width - 13]}…{name[-12:]}"


def _named(name: str) -> str:
    """Write a name in a sentence, where there is more room than in a column."""
    return _fitted(name, NAMED)


def _why(found: SideBySide) -> Iterator[str]:
    """Say each reason once, with the first metric it holds for."""
    told: dict[str, list[str]] = {}
    for row in found.gating if not found.reasons else ():
        if row.delta.reason:
            told.setdefault(row.delta.reason, []).append(row.name)
    for reason, names in told.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{_named(names[0])}{more}: {reason}"
