"""Drawing lengths: how many tokens each prompt and each answer has."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.requests.draws import uniforms_between
from pytest_msprof.workload_parts import Lengths

__all__ = ["draw_lengths"]


def draw_lengths(lengths: int | Lengths, key: str, number: int, *, begin: int = 0) -> list[int]:
    """Return *number* lengths of a series drawn by *key*, from its place *begin* on."""
    if isinstance(lengths, int):
        return [lengths] * number
    drawn = _DRAWN[lengths.distribution](lengths, uniforms_between(key, begin, begin + number))
    bounded = np.clip(np.rint(drawn), lengths.low, lengths.high)
    return [int(length) for length in bounded]


def _uniform(lengths: Lengths, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = lengths.low, lengths.high or lengths.low
    return np.floor(low + uniform * (high - low + 1))


def _normal(lengths: Lengths, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    normal = NormalDist(lengths.mean or 0.0, lengths.std or 1.0)
    return np.array([normal.inv_cdf(value) for value in uniform.tolist()])


def _lognormal(lengths: Lengths, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw by the mean and standard deviation of the logarithms that give those of the lengths."""
    mean = lengths.mean or 1.0
    variance = math.log1p(((lengths.std or 0.0) / mean) ** 2)
    if not variance:
        return np.full(uniform.shape, mean)
    normal = NormalDist(math.log(mean) - variance / 2, math.sqrt(variance))
    return np.array([math.exp(normal.inv_cdf(value)) for value in uniform.tolist()])


def _histogram(lengths: Lengths, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a bin by its weight, then a length in it by what is left of the same number."""
    low, high, weight = np.array(lengths.bins, dtype=np.float64).T
    edges = np.concatenate(([0.0], np.cumsum(weight / weight.sum())))
    place = np.clip(np.searchsorted(edges, uniform, side="right") - 1, 0, len(low) - 1)
    within = (uniform - edges[place]) / (edges[place + 1] - edges[place])
    drawn: NDArray[np.float64] = np.minimum(np.floor(low[place] + within * (high - low + 1)[place]), high[place])
    return drawn


_DRAWN = {"uniform": _uniform, "normal": _normal, "lognormal": _lognormal, "histogram": _histogram}
