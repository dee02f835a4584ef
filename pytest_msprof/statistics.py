"""How far apart two groups of launches lie, and how sure a few launches can make that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "Shift", "centre", "holm", "shift", "welch"]

NEGLIGIBLE = 1e-12
"""Differences below this are rounding."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two means with its standard error.

    An infinite error means that nothing is known about the noise; infinite degrees of freedom,
    that the noise was known beforehand.
    """

    estimate: float
    error: float
    degrees: float = math.inf

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval that holds the true difference in a share *confidence* of all cases."""
        margin = self._quantile(0.5 + confidence / 2) * self.error if self.error else 0.0
        return self.estimate - margin, self.estimate + margin

    def p_value(self, low: float = 0.0, high: float = 0.0) -> float:
        """Return the chance of a difference this far beyond [*low*, *high*] if the true one is inside.

        Below 0.05 exactly where the 95 % interval lies beyond that band. With a band of 0 it is
        the p-value of Welch's test.
        """
        from scipy.special import stdtr

        beyond = max(self.estimate - high, low - self.estimate)
        if beyond <= 0 and low < high:
            return 1.0
        if self.error == 0:
            return 0.0 if beyond > 0 else 1.0
        return min(1.0, 2 * float(stdtr(self.degrees, -abs(beyond) / self.error)))

    def detectable(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the true difference that a test at *alpha* would find in a share *power* of all cases.

        The usual sum of two quantiles (Cohen, Statistical Power Analysis, 1988, section 2.4),
        with t in the place of the normal distribution.
        """
        return (self._quantile(1 - alpha / 2) + self._quantile(power)) * self.error if self.error else 0.0

    def _quantile(self, probability: float) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.degrees, probability))


def welch(golden: NDArray[np.float64], current: NDArray[np.float64], *, noise: float | None = None) -> Difference:
    """Return mean(*current*) - mean(*golden*), one value a launch, without assuming equal variances.

    Welch, Biometrika 34 (1947). *noise* is a standard deviation between launches that was measured
    earlier; it takes the place of what these launches show, unless they show more.
    """
    estimate = float(current.mean() - golden.mean())
    estimate = 0.0 if abs(estimate) < NEGLIGIBLE else estimate
    if noise is not None:
        known = max(noise, _pooled(golden, current))
        return Difference(estimate, known * math.sqrt(1 / golden.size + 1 / current.size))
    if min(golden.size, current.size) < 2:  # noqa: PLR2004 - one value has no spread
        return Difference(estimate, math.inf)
    parts = [float(side.var(ddof=1)) / side.size for side in (golden, current)]
    error = math.sqrt(sum(parts))
    if error < NEGLIGIBLE:
        return Difference(estimate, 0.0, golden.size + current.size - 2)
    spread = parts[0] ** 2 / (golden.size - 1) + parts[1] ** 2 / (current.size - 1)
    return Difference(estimate, error, error**4 / spread)


def _pooled(golden: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return the standard deviation inside both groups, 0 where neither has two values."""
    degrees = golden.size + current.size - 2
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (golden, current))
    return math.sqrt(squares / degrees) if degrees else 0.0


@dataclass(frozen=True, slots=True)
class Shift:
    """The relative change of one metric from the golden launches to the current ones.

    The difference is one of logarithms, so that twice and half are equally far from 1; where a
    value is 0 it is one of plain values, in units of the golden mean.
    """

    golden: float
    current: float
    launches_golden: int
    launches_current: int
    difference: Difference | None
    """None where golden is 0, so that nothing is relative to it."""
    logarithmic: bool = True
    spread_golden: float | None = None
    """Standard deviation between launches as a share of their mean; None where one launch shows none."""
    spread_current: float | None = None

    def band(self, tolerance: float) -> tuple[float, float]:
        """Return a relative *tolerance* on the scale of the difference."""
        return (math.log1p(-tolerance), math.log1p(tolerance)) if self.logarithmic else (-tolerance, tolerance)

    def relative(self, difference: float) -> float | None:
        """Return a *difference* as a change relative to golden, None where it is boundless."""
        if not math.isfinite(difference):
            return None
        return math.expm1(min(difference, 700.0)) if self.logarithmic else difference


def shift(
    golden: Sequence[Sequence[float]], current: Sequence[Sequence[float]], *, noise: float | None = None
) -> Shift:
    """Return the change from *golden* to *current*: for each launch, the values of its loads.

    The loads of one launch resemble each other more than two launches do, so each launch counts
    once, with its mean.
    """
    logarithmic = all(value > 0 for side in (golden, current) for loads in side for value in loads)
    then, now = _means(golden, logarithmic=logarithmic), _means(current, logarithmic=logarithmic)
    before, after = float(then.mean()), float(now.mean())
    if logarithmic:
        before, after = math.exp(before), math.exp(after)
    elif before > 0:
        then, now = then / before, now / before
    return Shift(
        golden=before,
        current=after,
        launches_golden=len(golden),
        launches_current=len(current),
        difference=welch(then, now, noise=noise) if before > 0 else None,
        logarithmic=logarithmic,
        spread_golden=_spread(then, logarithmic=logarithmic),
        spread_current=_spread(now, logarithmic=logarithmic),
    )


def centre(launches: Sequence[Sequence[float]]) -> float:
    """Return the mean over launches, geometric where no value is 0."""
    logarithmic = all(value > 0 for loads in launches for value in loads)
    mean = float(_means(launches, logarithmic=logarithmic).mean())
    return math.exp(mean) if logarithmic else mean


def _spread(means: NDArray[np.float64], *, logarithmic: bool) -> float | None:
    """Return how far launches scatter, as a share of their mean."""
    centre = 1.0 if logarithmic else abs(float(means.mean()))
    return float(means.std(ddof=1)) / centre if means.size > 1 and centre else None


def _means(launches: Sequence[Sequence[float]], *, logarithmic: bool) -> NDArray[np.float64]:
    return np.array([np.mean(np.log(loads) if logarithmic else loads) for loads in launches])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return *p_values* adjusted so that 0.05 bounds the chance of any false alarm among them.

    Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted
