"""A few values of each field, bounds included: the grid that walks go through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.results import Value
from pytest_msprof.scales import Options
from pytest_msprof.space import SearchSpace

__all__ = ["Levels", "configuration", "levels", "levels_of", "place_of"]

Levels = Mapping[str, Sequence[Value]]
"""Field → the values of it that a grid has."""


def levels_of(space: SearchSpace, most: int) -> dict[str, tuple[Value, ...]]:
    """Return at most *most* values of every searched field; of options without an order, all."""
    return {entry.name: levels(entry, most) for entry in space.searched}


def levels(entry: OptimizerConfigField, most: int) -> tuple[Value, ...]:
    """Return at most *most* values of *entry*, in their order and with both bounds.

    A logarithmic span has the powers of two between its bounds, any other evenly spaced values.
    """
    scale: Any = entry.scale
    if isinstance(scale, Options):
        return _thinned(scale.values, most) if entry.is_ordered else scale.values
    low, high = scale.low, scale.high
    if scale.log:
        powers = [2.0**power for power in range(math.floor(math.log2(low)) + 1, math.ceil(math.log2(high)))]
        spread = [low, *powers, high]
    else:
        count = min(most, scale.count or most)
        spread = [low + (high - low) * place / (count - 1) for place in range(count)]
    kind = round if scale.count is not None else float
    return _thinned(tuple(dict.fromkeys(min(max(kind(value), low), high) for value in spread)), most)


def configuration(space: SearchSpace, values: Mapping[str, Value]) -> dict[str, Value] | None:
    """Return the configuration that *values* make, None where it breaks a condition.

    A field that does not exist beside the others is left out.
    """
    found: dict[str, Value] = {}
    for entry in space.searched:
        if entry.name in values and space.is_active(entry.name, found):
            found[entry.name] = values[entry.name]
    resolved = space.resolve(found)
    return None if space.violations(resolved) else resolved


def place_of(entry: OptimizerConfigField, value: Value, known: Sequence[Value]) -> int:
    """Return the place of the level of *entry* that is nearest to *value*."""
    at = entry.to_unit(value)
    return min(range(len(known)), key=lambda place: abs(entry.to_unit(known[place]) - at))


def _thinned(values: tuple[Value, ...], most: int) -> tuple[Value, ...]:
    if len(values) <= most:
        return values
    return tuple(values[round(place * (len(values) - 1) / (most - 1))] for place in range(most))
