"""Several objectives at once: what nothing beats in all of them, and which is best when they have weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["front", "weighted"]

Values = Sequence[Sequence[float]]
"""One row a candidate, one column an objective."""


def front(values: Values, maximize: Sequence[bool]) -> list[int]:
    """Return the places of the candidates that no other beats (the Pareto front), in their order.

    One beats another where it is at least as good in every objective and better in one.
    """
    found = _upwards(values, maximize)
    return [
        place
        for place, row in enumerate(found)
        if not np.any(np.all(found >= row, axis=1) & np.any(found > row, axis=1))
    ]


def weighted(values: Values, maximize: Sequence[bool], weights: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return the weighted mean of each candidate's gains over *base*, as shares: 0.1 is a tenth better.

    A gain is the logarithm of a ratio, so that twice as fast and half as fast cancel out; every
    value must be above 0.
    """
    gains = np.log(np.asarray(values, float) / np.asarray(base, float)) * _signs(maximize)
    shares = np.asarray(weights, float) / sum(weights)
    return [float(gain) for gain in np.expm1(gains @ shares)]


def _upwards(values: Values, maximize: Sequence[bool]) -> NDArray[np.float64]:
    return np.asarray(values, float).reshape(len(values), len(maximize)) * _signs(maximize)


def _signs(maximize: Sequence[bool]) -> NDArray[np.float64]:
    return np.where(np.asarray(maximize), 1.0, -1.0)
