"""Optuna's distributions as coordinates of the unit cube, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Cube"]

Array = NDArray[np.float64]
WIDE = 20
"""Values beyond which neighbours are no longer one apart."""
SQRT2 = 2**0.5
"""Makes two different choices one apart."""
TOGETHER = 2
"""Parameters that a point nearby changes on average."""
REACHES = (0.01, 0.3)
"""Shares of an axis that it moves by."""
ABSENT = 0.5
"""Coordinate of a parameter that a trial does not have: the middle favours no value."""


class Cube:
    """Places trials in [0, 1]^d: numbers and ordered lists take one axis, other choices one each."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.space = dict(sorted(space.items()))
        self._axes = {name: _Axis.of(distribution) for name, distribution in self.space.items()}
        self.dimensions = sum(axis.width for axis in self._axes.values())
        self.raw = len(self._axes)
        """Coordinates of the cube that `from_units` reads: one a parameter."""

    def encode(self, trials: Sequence[Mapping[str, Any]]) -> Array:
        """Return the coordinates of parameters, shape ``(n, dimensions)``."""
        rows = [
            [value for name, axis in self._axes.items() for value in axis.encode(parameters.get(name, _MISSING))]
            for parameters in trials
        ]
        return np.array(rows, float).reshape(len(trials), self.dimensions)

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Say whether every choice among *parameters* is one of its list; numbers beyond a bound count as at it."""
        return all(
            axis.choices is None or parameters[name] in axis.choices
            for name, axis in self._axes.items()
            if name in parameters
        )

    def from_units(self, units: Array) -> dict[str, Any]:
        """Return the parameters at *units*, shape ``(raw,)``; every value has an equal share of its axis."""
        return {name: axis.decode(float(unit)) for (name, axis), unit in zip(self._axes.items(), units, strict=True)}

    def towards(self, home: Mapping[str, Any], units: Array, share: float) -> dict[str, Any]:
        """Return the parameters at *units* pulled towards *home*, as far as that has them.

        Numbers and lists keep *share* of their distance, other choices differ with that probability.
        """
        return {
            name: axis.towards(home[name], float(unit), share) if name in home else axis.decode(float(unit))
            for (name, axis), unit in zip(self._axes.items(), units, strict=True)
        }

    def neighbours(self, parameters: Mapping[str, Any], generator: np.random.Generator) -> list[dict[str, Any]]:
        """Return *parameters* with one of them changed: a step up, a step down, and anywhere."""
        found = []
        for name, axis in self._axes.items():
            here = axis.unit(parameters[name]) if name in parameters else ABSENT
            steps = (here - axis.step, here + axis.step, here + generator.normal(0, 0.1), generator.random())
            found += [{**parameters, name: axis.decode(unit)} for unit in steps if 0 <= unit <= 1]
        return found

    def nearby(self, parameters: Mapping[str, Any], generator: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """Return *count* points that differ from *parameters* in two parameters or so, by a little or by much."""
        known = [name for name in self._axes if name in parameters]
        moved = generator.random((count, len(known))) < TOGETHER / max(len(known), 1)
        reach = REACHES[0] * (REACHES[1] / REACHES[0]) ** generator.random((count, 1))
        steps, anywhere = reach * generator.standard_normal(moved.shape), generator.random(moved.shape)
        return [
            {
                **parameters,
                **{
                    name: self._axes[name].moved(parameters[name], float(step), float(unit))
                    for name, moves, step, unit in zip(known, *row, strict=True)
                    if moves
                },
            }
            for row in zip(moved, steps, anywhere, strict=True)
        ]


_MISSING = object()


class _Axis:
    """One parameter on the unit line."""

    def __init__(self, choices: Sequence[Any] | None, low: float, high: float, *, log: bool, kind: str) -> None:
        self.choices, self.low, self.high, self.log, self.kind = choices, low, high, log, kind
        self.width = len(choices) if choices is not None and kind == "enum" else 1
        self.step = (
            1 / len(choices) if choices is not None else 0.05 if kind == "float" else max(0.05, 1 / (high - low + 1))
        )

    @classmethod
    def of(cls, distribution: BaseDistribution) -> _Axis:
        """Read a distribution; numbers in ascending order make an ordered list."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if isinstance(distribution, CategoricalDistribution):
            choices = list(distribution.choices)
            numbers = all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices)
            ascending = numbers and list(map(float, choices)) == sorted(map(float, choices))  # type: ignore[arg-type]
            ordered = len(choices) < 3 or ascending  # noqa: PLR2004 - two ends
            return cls(choices, 0, 1, log=False, kind="ordered" if ordered else "enum")
        if isinstance(distribution, IntDistribution | FloatDistribution):
            step = getattr(distribution, "step", None)
            if step is not None and step != 1:
                count = math.floor((distribution.high - distribution.low) / step + 1e-9) + 1
                return cls([distribution.low + step * i for i in range(count)], 0, 1, log=False, kind="ordered")
            kind = "int" if isinstance(distribution, IntDistribution) else "float"
            return cls(None, distribution.low, distribution.high, log=distribution.log, kind=kind)
        raise TypeError(f"cannot place a {type(distribution).__name__}")

    def unit(self, value: Any) -> float:
        """Return where *value* stands on the line, in the middle of its share."""
        if self.choices is not None:
            return (self.choices.index(value) + 0.5) / len(self.choices)
        low, high = self._span()
        if high <= low:
            return ABSENT
        at = math.log(value) if self.log else value
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def encode(self, value: Any) -> list[float]:
        """Return the coordinates of *value* for the model."""
        if self.kind == "enum" and self.choices is not None:
            return [ABSENT if value is _MISSING else float(choice == value) / SQRT2 for choice in self.choices]
        if value is not _MISSING and self.choices is not None and len(self.choices) > 1:
            return [self.choices.index(value) / (len(self.choices) - 1)]
        return [ABSENT if value is _MISSING else self.unit(value)]

    def decode(self, unit: float) -> Any:
        """Return the value whose share of the line holds *unit*."""
        if self.choices is not None:
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        low, high = self._span()
        at = low + unit * (high - low)
        found = math.exp(at) if self.log else at
        found = min(max(found, self.low), self.high)
        return min(max(round(found), int(self.low)), int(self.high)) if self.kind == "int" else found

    def moved(self, value: Any, step: float, unit: float) -> Any:
        """Return the value a *step* away; where values have no order, the one at *unit*."""
        at = unit if self.kind == "enum" or self.choices is not None else self.unit(value) + step
        return self.decode(min(max(at, 0.0), 1.0))

    def towards(self, home: Any, unit: float, share: float) -> Any:
        """Return the value at *unit* pulled towards *home*."""
        if self.choices is not None and (self.kind == "enum" or len(self.choices) < 3):  # noqa: PLR2004 - two ends
            return self.decode(unit / share) if unit < share else home
        here = self.unit(home)
        return self.decode(here + share * (unit - here))

    def _span(self) -> tuple[float, float]:
        """Return the ends of the line; a whole number owns half a step on either side."""
        half = 0.5 if self.kind == "int" else 0.0
        low, high = self.low - half, self.high + half
        return (math.log(max(low, 0.5 * self.low)), math.log(high)) if self.log else (low, high)
