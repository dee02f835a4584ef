"""A comparison for a pull request: the verdict first, what decides in a table, the rest folded away."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from pytest_msprof.display import change, interval, percent
from pytest_msprof.side_by_side import Row, SideBySide
from pytest_msprof.side_table import figure

__all__ = ["markdown"]

SIGNS = {"improved": "✅", "unchanged": "✅", "regressed": "❌", "incomparable": "⚠️", "inconclusive": "⚠️"}
LONGEST = 120
MOST_ROWS = 100
"""Of one table: a comment on a pull request holds 65,536 characters."""
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@$-])")
HEAD = ("| metric | golden | input | change | 95 % interval | detectable | verdict |", "|---|--:|--:|--:|--:|--:|---|")


def markdown(comparison: SideBySide) -> str:
    """Return the report; whatever stands in a file is shown as text."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: SideBySide) -> Iterator[str]:
    sign = SIGNS.get(comparison.verdict, "ℹ️")
    yield f"### {sign} Serving performance: {comparison.verdict}"
    yield ""
    launches = f"{comparison.input.launches} launches against {comparison.golden.launches} golden ones"
    yield f"{launches}: {_code(comparison.input.path)} against {_code(comparison.golden.path)}"
    yield ""
    yield from (f"- **incomparable**: {_text(reason)}" for reason in comparison.reasons)
    yield from (
        f"- {_text(reason)}" for reason in dict.fromkeys(row.delta.reason for row in comparison.gating) if reason
    )
    yield ""
    moved = [row for row in comparison.gating if row.delta.verdict not in ("unchanged", "descriptive")]
    if moved and not comparison.reasons:
        yield from _table(moved)
        yield ""
    rows = sorted(comparison.rows, key=lambda row: not row.delta.gates)
    yield f"<details><summary>All {len(rows)} figures</summary>"
    yield ""
    yield from _table(rows)
    yield ""
    yield "</details>"
    yield from _notes(comparison)


def _notes(comparison: SideBySide) -> Iterator[str]:
    if comparison.notes:
        yield ""
        yield "<details><summary>Notes</summary>"
        yield ""
        yield from (f"- {_text(note)}" for note in comparison.notes[:MOST_ROWS])
        yield ""
        yield "</details>"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield from HEAD
    for row in rows[:MOST_ROWS]:
        delta = row.delta
        cells = (
            _code(row.name),
            figure(row, delta.golden),
            figure(row, delta.current),
            change(delta.change),
            interval(delta.low, delta.high),
            percent(delta.detectable),
            _text(delta.reason) if row.is_missing else delta.verdict,
        )
        yield f"| {' | '.join(cells)} |"
    if len(rows) > MOST_ROWS:
        yield ""
        yield f"{len(rows) - MOST_ROWS} more stand in compare_result.json"


def _code(text: str) -> str:
    """Show a name as code; HTML holds what backticks and bars would end."""
    return f"<code>{html.escape(_short(text)).replace('|', '&#124;').replace('`', '&#96;')}</code>"


def _text(text: str) -> str:
    return SPECIAL.sub(r"\\\1", html.escape(_short(text)))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…"
