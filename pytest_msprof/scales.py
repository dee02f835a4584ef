"""The unit line and the values of a field: how a search in [0, 1] reaches every value, bounds included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

from pytest_msprof.results import Value

__all__ = ["MOST_STEPS", "Integers", "Options", "Reals", "Scale", "evenly", "is_number", "same", "shown", "whole"]

MOST_STEPS = 1_000_000
"""Steps beyond which a span serves better."""
READABLE = 10**15


class Scale(Protocol):
    """The values of a field in an order, and where each lies on the unit line."""

    @property
    def count(self) -> int | None:
        """How many values there are, None where they cannot be counted."""

    def spelled(self, value: Value) -> Value:
        """Return *value* as this scale spells it (8 for 8.0); raises `LookupError` when it is not there."""

    def from_unit(self, unit: float) -> Value:
        """Return the value at *unit*; what lies beyond [0, 1] means its nearest end."""

    def to_unit(self, value: Value) -> float:
        """Return where *value*, spelled as here, lies: `from_unit` leads back to it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Listed values, each with an equal segment of the line."""

    values: tuple[Value, ...]

    @property
    def count(self) -> int:
        """How many values there are; None where they cannot be counted."""
        return len(self.values)

    def spelled(self, value: Value) -> Value:
        """Return the value of this scale that equals *value*; raises `LookupError` where there is none."""
        return self.values[self._place(value)]

    def from_unit(self, unit: float) -> Value:
        """Return the value at *unit*."""
        return self.values[_segment(unit, len(self.values))]

    def to_unit(self, value: Value) -> float:
        """Return the middle of the part of the line that leads to *value*."""
        return (self._place(value) + 0.5) / len(self.values)

    def _place(self, value: Value) -> int:
        for place, option in enumerate(self.values):
            if same(option, value):
                return place
        raise LookupError(value)


@dataclass(frozen=True, slots=True)
class Integers:
    """Whole numbers from *low* to *high*; under *log* a doubling has the same length everywhere."""

    low: int
    high: int
    log: bool = False

    @property
    def count(self) -> int:
        """How many values there are; None where they cannot be counted."""
        return self.high - self.low + 1

    def spelled(self, value: Value) -> int:
        """Return the value of this scale that equals *value*; raises `LookupError` where there is none."""
        if not is_number(value) or value != round(value) or not self.low <= value <= self.high:
            raise LookupError(value)
        return int(value)

    def from_unit(self, unit: float) -> int:
        """Return the value at *unit*."""
        if not self.log:
            return self.low + _segment(unit, self.count)
        return min(max(round(self._line.from_unit(unit)), self.low), self.high)

    def to_unit(self, value: Value) -> float:
        """Return the middle of the part of the line that leads to *value*."""
        return self._line.to_unit(value) if self.log else float((value - self.low + 0.5) / self.count)

    @property
    def _line(self) -> Reals:
        """The reals that round to these numbers: so the ends are no rarer than the rest."""
        return Reals(self.low - 0.5, self.high + 0.5, log=True)


@dataclass(frozen=True, slots=True)
class Reals:
    """Numbers from *low* to *high*; under *log* a doubling has the same length everywhere."""

    low: float
    high: float
    log: bool = False

    @property
    def count(self) -> int | None:
        """How many values there are; None where they cannot be counted."""
        return 1 if self.low == self.high else None

    def spelled(self, value: Value) -> float:
        """Return the value of this scale that equals *value*; raises `LookupError` where there is none."""
        if not is_number(value) or not self.low <= value <= self.high:
            raise LookupError(value)
        return float(value)

    def from_unit(self, unit: float) -> float:
        """Return the value at *unit*."""
        if unit <= 0 or self.low == self.high:
            return self.low
        if unit >= 1:
            return self.high
        if self.log:
            found = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        else:
            found = self.low * (1 - unit) + self.high * unit
        return min(max(found, self.low), self.high)

    def to_unit(self, value: Value) -> float:
        """Return the middle of the part of the line that leads to *value*."""
        if self.log:
            done, span = math.log(value) - math.log(self.low), math.log(self.high) - math.log(self.low)
        else:
            # Halved, because the distance between two floats may be no float.
            done, span = value / 2 - self.low / 2, self.high / 2 - self.low / 2
        return done / span if span else 0.5


@lru_cache(maxsize=128)
def evenly(low: float, high: float, step: float) -> tuple[int | float, ...]:
    """Return *low*, *low* + *step*, … as far as *high*, never beyond; 0.3 is 0.3."""
    start, end, gap = (Decimal(repr(float(number))) for number in (low, high, step))
    count = int((end - start) / gap) + 1
    if all(number == number.to_integral_value() for number in (start, gap)):
        return tuple(range(int(start), int(start) + count * int(gap), int(gap)))
    return tuple(float(start + place * gap) for place in range(count))


def same(one: Value, other: Value) -> bool:
    """Say whether two values are one: 8 is 8.0, but 1 is not True."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def is_number(value: Value) -> bool:
    """Say whether *value* is a finite number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(value: float) -> int | float:
    """Return *value*, as an int where it is one."""
    return int(value) if math.isfinite(value) and value == round(value) else value


def shown(value: Value) -> str:
    """Spell a value for people: 1000000 rather than 1e+06, and an empty text visibly."""
    if is_number(value):
        return str(whole(value)) if abs(value) < READABLE else f"{value:g}"
    return value if isinstance(value, str) and value else repr(value)


def _segment(unit: float, count: int) -> int:
    """Return the number of the segment that *unit* lies in."""
    return min(max(int(unit * count), 0), count - 1)
