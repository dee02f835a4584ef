"""The searches `brute` and `manual`: a grid made from the bounds, and everything that was listed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.space import SearchSpace
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.lattice import Levels, configuration, levels_of
from pytest_msprof.tuning.walks import Exhausted

if TYPE_CHECKING:
    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["Grid", "brute", "manual"]

Point = dict[str, Value]

COARSEST = 2
"""Values of a field in the coarsest grid: its bounds."""
MOST_LISTED = 4096
"""Points up to which a grid that exceeds the budget is listed; of a larger one, points are drawn."""
MOST_LOOKED_AT = 100_000
"""Combinations, conditions aside, up to which a grid is listed at all."""
DRAWS = 10_000


class Grid:
    """Goes through points in their order, each once; one that was given back comes again."""

    def __init__(self, points: Callable[[], Iterable[Point]], ended: str) -> None:
        self._points, self._ended = points, ended

    def next(self, records: Sequence[TrialRecord], known: Container[str]) -> Point:  # noqa: ARG002 - a walk's
        """Return the first point that is not *known*."""
        for point in self._points():
            if digest(point) not in known:
                return point
        raise Exhausted(self._ended)


def manual(plan: TunePlan) -> Grid:
    """Return the walk through every configuration of the space, in the order of its lists.

    Raises `ConfigurationError` where a field is no list, or the budget does not hold them all.
    """
    for entry in plan.space.searched:
        if entry.scale.count is None:
            raise ConfigurationError(
                f"search='manual' goes through lists, but {entry.name!r} is {entry.describe()}; "
                "list its values as choice(…) or steps(…)"
            )
    points = tuple(islice(plan.space.configurations(), max(MOST_LISTED, plan.n_trials) + 1))
    needed = len({digest(point) for point in points} | {digest(plan.space.as_the_engine_takes(plan.space.default))})
    if needed > plan.n_trials and plan.minutes is None:
        found = str(needed) if len(points) <= MOST_LISTED else f"more than {MOST_LISTED}"
        raise ConfigurationError(
            f"search='manual' measures all {found} configurations, default included, but n_trials is {plan.n_trials}"
        )
    return Grid(lambda: points, f"all {len(points)} listed configurations were measured")


def brute(plan: TunePlan) -> Grid:
    """Return the walk through the finest grid that the budget holds, in an order by lot.

    Where even the bounds alone are too many, the points of that grid are drawn by lot: a budget
    that ends early has then seen every part of the space.
    """
    levels = levels_of(plan.space, COARSEST)
    points = _listed(plan.space, levels, MOST_LISTED)
    if points is None:
        return Grid(lambda: _drawn(plan.space, levels, plan.seed), "no further point of the grid was found")
    points = _finest(plan.space, plan.n_trials) or points
    random.Random(plan.seed).shuffle(points)  # noqa: S311 - a search, not a secret
    return Grid(lambda: points, f"all {len(points)} points of the grid were measured")


def _finest(space: SearchSpace, budget: int) -> list[Point] | None:
    """Return the points of the finest grid that *budget* holds, None where it holds none."""
    points, before = None, None
    for most in count(COARSEST):
        levels = levels_of(space, most)
        finer = _listed(space, levels, budget) if levels != before else None
        if finer is None:
            return points
        points, before = finer, levels
    return points


def _listed(space: SearchSpace, levels: Levels, most: int) -> list[Point] | None:
    """Return the points of a grid, None where they are more than *most*."""
    if math.prod(map(len, levels.values())) > MOST_LOOKED_AT:
        return None
    found = list(islice(space.configurations(levels), most + 1))
    return found if len(found) <= most else None


def _drawn(space: SearchSpace, levels: Levels, seed: int) -> Iterator[Point]:
    generator = random.Random(seed)  # noqa: S311 - a search, not a secret
    for _ in range(DRAWS):
        point = configuration(space, {name: generator.choice(values) for name, values in levels.items()})
        if point is not None:
            yield point
