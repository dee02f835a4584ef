"""The search `quick`: hill climbing on a lattice that ends at the bounds of the space."""

from __future__ import annotations

import random
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.lattice import configuration, levels_of, place_of
from pytest_msprof.tuning.walks import Exhausted, standing

if TYPE_CHECKING:
    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["HillClimb"]

Places = tuple[int, ...]

MOST_LEVELS = 17
"""Values of a field on the lattice: sixteen doublings, or sixteen equal steps."""


class HillClimb:
    """Steps from the best point so far to its neighbours, on in the direction that paid, until none is better.

    The step that led to the best point is tried again, twice as long first; then one step along each
    field, then along two at once. A point is measured once, and the end is an end.
    """

    def __init__(self, plan: TunePlan) -> None:
        self._plan = plan
        self._fields = plan.space.searched
        self._levels = levels_of(plan.space, MOST_LEVELS)

    def next(self, records: Sequence[TrialRecord], known: Container[str]) -> dict[str, Value]:
        """Return the first neighbour of the best point that is not *known*."""
        centre, before = self._best(records)
        for places in self._around(centre, before):
            point = self._point(places)
            if point is not None and digest(point) not in known:
                return point
        raise Exhausted("no neighbour of the best point is better")

    def _best(self, records: Sequence[TrialRecord]) -> tuple[Places, Places]:
        """Return where the best trial stands, and where the one stood that was the best before it."""
        ranked = sorted(records, key=lambda record: (standing(record, self._plan), record.number))
        if not ranked:
            middle = self._places({})
            return middle, middle
        best = ranked[0]
        earlier = next((record for record in ranked if record.number < best.number), best)
        return self._places(best.fields), self._places(earlier.fields)

    def _around(self, centre: Places, before: Places) -> Iterator[Places]:
        yield centre
        step = [here - there for here, there in zip(centre, before, strict=True)]
        yield tuple(here + 2 * by for here, by in zip(centre, step, strict=True))
        yield tuple(here + by for here, by in zip(centre, step, strict=True))
        moves = [(axis, to) for axis in range(len(centre)) for to in self._moves(axis, centre[axis])]
        random.Random(f"{self._plan.seed} {centre}").shuffle(moves)  # noqa: S311 - a search, not a secret
        for move in moves:
            yield _moved(centre, move)
        for one, other in combinations(moves, 2):
            if one[0] != other[0]:
                yield _moved(centre, one, other)

    def _moves(self, axis: int, here: int) -> list[int]:
        """Return the places beside *here*; options without an order are all beside each other."""
        entry, count = self._fields[axis], len(self._levels[self._fields[axis].name])
        if not entry.is_ordered:
            return [place for place in range(count) if place != here]
        return [place for place in (here - 1, here + 1) if 0 <= place < count]

    def _places(self, fields: Mapping[str, Value]) -> Places:
        chosen = self._plan.space.parameters(fields)
        return tuple(self._place(entry, chosen) for entry in self._fields)

    def _place(self, entry: OptimizerConfigField, chosen: Mapping[str, Value]) -> int:
        known = self._levels[entry.name]
        return place_of(entry, chosen[entry.name], known) if entry.name in chosen else len(known) // 2

    def _point(self, places: Places) -> dict[str, Value] | None:
        """Return the configuration at *places*; beyond a bound there is none."""
        chosen = {}
        for entry, place in zip(self._fields, places, strict=True):
            known = self._levels[entry.name]
            if not 0 <= place < len(known):
                return None
            chosen[entry.name] = known[place]
        return configuration(self._plan.space, chosen)


def _moved(centre: Places, *moves: tuple[int, int]) -> Places:
    places = list(centre)
    for axis, place in moves:
        places[axis] = place
    return tuple(places)
