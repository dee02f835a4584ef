"""Whether two sides measured the same thing, as far as their files say what they measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pytest_msprof.comparability import is_meant
from pytest_msprof.comparison import unsuitable
from pytest_msprof.sources.source import Source

__all__ = ["obstacles_between"]

MOST_TOKENS = 0.01
"""Share by which the output tokens of two sides may differ, since sampled answers end where they like."""


def obstacles_between(
    current: Sequence[Source],
    golden: Sequence[Source],
    across: Collection[str] = (),
    *,
    sides: tuple[str, str] = ("input", "golden"),
) -> tuple[str, ...]:
    """Say why the two *sides* measured something else, as far as their files say what they measured.

    What *across* names differs on purpose.
    """
    ours = [[source.run for source in side if source.run] for side in (current, golden)]
    if len(ours[0]) == len(current) and len(ours[1]) == len(golden):
        return unsuitable(ours[0], ours[1], across)
    everything = (*current, *golden)
    names = [name for name in everything[0].identity if all(name in source.identity for source in everything)]
    return tuple(
        f"{name}: {_told(current, name)} in {sides[0]}, {_told(golden, name)} in {sides[1]}"
        for name in names
        if not is_meant(name, across) and _differ(name, [source.identity[name] for source in everything])
    )


def _told(side: Sequence[Source], name: str) -> str:
    return " or ".join(dict.fromkeys(source.identity[name] for source in side))


def _differ(name: str, values: Sequence[str]) -> bool:
    if name != "output tokens" or len(set(values)) == 1:
        return len(set(values)) > 1
    figures = [float(value) for value in values]
    return max(figures) - min(figures) > MOST_TOKENS * max(figures)
