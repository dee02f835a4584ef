"""The statistics that every reader gives of many values, and the shape of their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Spread", "mixture", "spread"]

PERCENTILES = (50, 90, 99)
POINTS = 101
"""Values that draw a distribution at most."""


class Spread(NamedTuple):
    """What many values say."""

    statistics: dict[str, float]
    """Mean, extremes and percentiles, interpolated linearly as numpy and the original's summaries do."""
    shape: tuple[float, ...]
    """Some of the values, in order and evenly spaced over all of them, both extremes included."""
    size: int
    """How many there were."""


def spread(values: ArrayLike) -> Spread:
    """Describe *values*, which are put in order in their place where they are an array of doubles."""
    ordered = np.asarray(values, dtype=np.float64)
    ordered.sort()
    told = {"mean": float(ordered.mean()), "max": float(ordered[-1]), "min": float(ordered[0])}
    told |= {f"p{percent}": _percentile(ordered, percent) for percent in PERCENTILES}
    return Spread(told, _evenly(ordered), len(ordered))


def mixture(shapes: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the shape of many distributions in one, each of which counts alike; six digits are kept."""
    if len(shapes) == 1:
        return tuple(float(f"{value:.6g}") for value in shapes[0])
    longest = max(map(len, shapes))
    each = [np.asarray(values)[np.linspace(0, len(values) - 1, longest).round().astype(np.int64)] for values in shapes]
    return mixture([_evenly(np.sort(np.concatenate(each)))])


def _evenly(ordered: NDArray[np.float64]) -> tuple[float, ...]:
    if len(ordered) > POINTS:
        ordered = ordered[np.linspace(0, len(ordered) - 1, POINTS).round().astype(np.int64)]
    return tuple(map(float, ordered))


def _percentile(ordered: NDArray[np.float64], percent: float) -> float:
    position = percent / 100 * (len(ordered) - 1)
    low, high = float(ordered[int(position)]), float(ordered[math.ceil(position)])
    return low + (high - low) * (position - int(position))
