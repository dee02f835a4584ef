"""Fields that are not chosen but follow from others: a fraction, a rest, a product, a quotient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_msprof.errors import InvalidSpace
from pytest_msprof.results import Value
from pytest_msprof.scales import shown, whole

__all__ = ["FOLLOWING", "Following"]

FOLLOWING = ("ratio", "share", "factories", "times")
"""The types, in the seed's words: `factories` is a quotient, `times` a product."""
ROUNDING = 1e-9
"""Keeps 0.29 times 100 from being 28."""


@dataclass(frozen=True, slots=True)
class Following:
    """How one field follows from others."""

    name: str
    dtype: str
    factors: tuple[str, ...]
    """The fields that it is multiplied with, divided by, or a part of."""
    total: float | str = 1
    """The number, or the field, that a product or a quotient starts from."""
    is_whole: bool = True
    """Whether only a whole number counts as a result."""

    @classmethod
    def of(cls, name: str, dtype: str, parameter: Any) -> Following:
        """Read the seed's `dtype_param`; raises `InvalidSpace` where it names no other field."""
        table = parameter if isinstance(parameter, dict) else {}
        named = table.get("target_names") or [table.get("target_name")]
        names = [parameter] if dtype in ("ratio", "share") else named
        if not (isinstance(names, list | tuple) and all(isinstance(one, str) and one for one in names)):
            raise InvalidSpace(f"field {name!r} must name the field it follows, but got {parameter!r}")
        total = table.get("product", 1)
        if isinstance(total, bool) or not isinstance(total, int | float | str) or total == "":
            raise InvalidSpace(f"field {name!r} needs a number or a field as product, but got {total!r}")
        return cls(name, dtype, tuple(names), total, table.get("dtype", "int") == "int")

    @property
    def targets(self) -> tuple[str, ...]:
        """Every field that it follows."""
        return (self.total, *self.factors) if isinstance(self.total, str) else self.factors

    def describe(self) -> str:
        """Say it as a formula: `16 / tp`, `tp * pp`."""
        if self.dtype == "share":
            return f"what {self.factors[0]} leaves"
        plain = self.dtype == "times" and self.total == 1
        parts = self.factors if plain else (self.total, *self.factors)
        return (" / " if self.dtype == "factories" else " * ").join(map(shown, parts))

    def fraction(self, fraction: float, values: Mapping[str, Value]) -> int:
        """Return *fraction* of the target, rounded down."""
        return int(fraction * values[self.factors[0]] + ROUNDING)

    def value(self, values: Mapping[str, Value], ends: tuple[float, float]) -> Value:
        """Return what follows from *values*; a share divides the sum of *ends*, its target's bounds.

        Raises `InvalidSpace` where nothing follows: a division by 0, or a rest where a whole
        number is wanted.
        """
        if self.dtype == "share":
            return whole(ends[0] + ends[1] - values[self.factors[0]])
        total = values[self.total] if isinstance(self.total, str) else self.total
        by = math.prod(values[name] for name in self.factors)
        if self.dtype == "factories" and not by:
            raise self._nothing("divides by 0", values)
        found = total * by if self.dtype == "times" else total / by
        if not self.is_whole:
            return float(found)
        if abs(found - round(found)) > ROUNDING:
            raise self._nothing("is no whole number", values)
        return round(found)

    def _nothing(self, problem: str, values: Mapping[str, Value]) -> InvalidSpace:
        where = ", ".join(f"{name}={values[name]!r}" for name in self.targets)
        return InvalidSpace(f"{self.name} = {self.describe()} {problem} with {where}")
