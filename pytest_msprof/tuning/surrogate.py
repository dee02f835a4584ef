"""What a handful of trials say about every other configuration: objective, limits, crashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.tuning.gaussian import GaussianProcess

__all__ = ["Surrogate", "missed_by", "scores"]

Array = NDArray[np.float64]

LEAST = 1e-12
"""A probability below this counts as this: no region is ever given up for good."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A Gaussian process for the objective, one a constraint, one for crash or no crash."""

    objective: GaussianProcess
    constraints: tuple[GaussianProcess | None, ...]
    """One for each column; None where every trial met it alike."""
    alive: GaussianProcess | None
    """None while nothing crashed."""

    @classmethod
    def fit(
        cls, points: Array, values: Array, excess: Array, tried: Array, alive: Array, before: Self | None = None
    ) -> Self:
        """Fit to *values* and *excess*, shape ``(n, c)``, at *points*, and to *alive*, ±1, at the points *tried*.

        With *before*, of the same columns, each process is fitted to what changed since.
        """
        objective, dead = (None, None) if before is None else (before.objective, before.alive)
        earlier = (None,) * excess.shape[1] if before is None else before.constraints
        return cls(
            GaussianProcess.fit(points, values, objective),
            tuple(
                GaussianProcess.fit(points, _scaled(column), known)
                if known is not None or np.any(column > 0) or np.ptp(column)
                else None
                for column, known in zip(excess.T, earlier, strict=True)
            ),
            GaussianProcess.fit(tried, alive, dead) if dead is not None or np.any(alive < 0) else None,
        )

    def believing(self, points: Array) -> Self:
        """Return the model as if what it expects had been seen at *points*: objective, limits, crash or no crash."""
        return type(self)(
            self.objective.believing(points),
            tuple(process and process.believing(points) for process in self.constraints),
            self.alive and self.alive.believing(points),
        )

    def improvement(self, at: Array, best: float) -> Array:
        """Return by how much the objective is expected to exceed *best*."""
        from scipy.special import ndtr

        mean, deviation = self.objective.predict(at)
        gain = mean - best
        z = gain / deviation
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        return np.asarray(np.maximum(gain * ndtr(z) + deviation * density, 1e-12), float)

    def mean(self, at: Array) -> Array:
        """Return what the objective is expected to be."""
        return np.asarray(self.objective.predict(at)[0], float)

    def feasible(self, at: Array, margin: float = 0.0) -> Array:
        """Return the probability that every constraint is met, with *margin* deviations of one run's noise to spare."""
        from scipy.special import ndtr

        found = np.ones(len(at))
        for process in filter(None, self.constraints):
            mean, deviation = process.predict(at)
            found *= np.maximum(ndtr(-(mean + margin * process.noise) / deviation), LEAST)
        return found

    def survives(self, at: Array) -> Array:
        """Return the probability that the service does not crash."""
        from scipy.special import ndtr

        if self.alive is None:
            return np.ones(len(at))
        mean, deviation = self.alive.predict(at)
        return np.asarray(np.maximum(ndtr(mean / deviation), LEAST), float)


def scores(values: Array, *, maximize: bool) -> Array:
    """Return what is to be maximised: the logarithm where all values are positive, since gains are ratios."""
    found = np.log(values) if np.all(values > 0) else values
    return found if maximize else -found


def missed_by(excess: Array) -> Array:
    """Return how far each trial, shape ``(n, c)``, is from meeting all limits; 0 where it does."""
    return np.asarray(sum((np.maximum(_scaled(column), 0) for column in excess.T), np.zeros(len(excess))), float)


def _scaled(excess: Array) -> Array:
    """Return the logarithm of metric over limit, which is straight where queues and batches grow."""
    if np.all(excess > -1):
        return np.asarray(np.log1p(excess), float)
    return np.asarray(np.arcsinh(excess / (np.median(np.abs(excess)) or 1.0)), float)
