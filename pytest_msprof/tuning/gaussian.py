"""Gaussian process regression on a few dozen points: fit, mean and deviation. numpy and scipy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["GaussianProcess", "matern"]

Array = NDArray[np.floating]

SQRT5 = 5**0.5
JITTER = 1e-8
FIT_STEPS = 40
LEAST_CHANGE = 0.2
"""Deviation of what changed since an earlier process, in units of that one's, that is believed at least."""


class Prior(NamedTuple):
    """What is believed of a hyperparameter before there are data: its logarithm is normal."""

    mean: float
    deviation: float
    low: float
    high: float


LENGTH = Prior(0.0, 0.8, np.log(0.05), np.log(8.0))
"""Length scales on the unit cube."""
TOGETHER = Prior(0.0, 0.5, np.log(0.3), np.log(4.0))
"""Variance of what only all parameters together explain, in units of the observations'."""
APART = Prior(np.log(0.3), 1.0, np.log(0.02), np.log(6.0))
"""Variance of what each parameter explains by itself, summed: on a logarithmic scale most effects of serving add up."""
NOISE = Prior(np.log(0.05), 1.2, np.log(1e-3), np.log(1.0))
"""Standard deviation of the noise."""


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A fitted process: a sum of one-dimensional Matérn 5/2 kernels, plus one over all dimensions.

    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1 and
    equation 4.17; the sum after Duvenaud et al., Additive Gaussian Processes, 2011: it learns from a
    dozen points what each parameter does, where the product alone still knows nothing far from them.
    Hyperparameters are the most probable ones under log-normal priors.
    """

    points: Array
    lengths: Array
    together: float
    apart: float
    noise: float
    """Standard deviation of a single observation, in the observations' units."""
    factor: Array
    weights: Array
    centre: float
    scale: float
    before: Self | None = None
    """The process that this one departs from."""

    @classmethod
    def fit(cls, points: Array, values: Array, before: Self | None = None) -> Self:
        """Fit to *values*, shape ``(n,)``, at *points* of the unit cube, shape ``(n, d)``.

        With an earlier process *before*, what is fitted is how far the values are from it: from its mean,
        and with its covariance besides that of the change, so that what it did not know stays unknown.
        """
        from scipy.optimize import minimize

        rest = values if before is None else values - before.predict(points)[0]
        centre, scale = float(np.mean(rest)), float(np.std(rest))
        scale = max(scale, LEAST_CHANGE * before.scale) if before is not None else scale or 1.0
        targets = (rest - centre) / scale
        squares = (points[:, None, :] - points[None, :, :]) ** 2
        unknown = np.zeros(squares.shape[:2]) if before is None else before.covariance(points, points) / scale**2
        priors = _priors(points.shape[1])
        found = minimize(
            _loss,
            [prior.mean for prior in priors],
            args=(squares, targets, unknown),
            jac=True,
            bounds=[(prior.low, prior.high) for prior in priors],
            method="L-BFGS-B",
            options={"maxiter": FIT_STEPS},
        )
        *lengths, together, apart, noise = np.exp(found.x)
        kernel = _kernel(squares / np.square(lengths), together, apart) + unknown
        factor = np.linalg.cholesky(kernel + (noise**2 + JITTER) * np.eye(len(points)))
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, targets))
        return cls(points, np.array(lengths), together, apart, scale * noise, factor, weights, centre, scale, before)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the function at *points*, shape ``(m, d)``."""
        cross = self._believed(points, self.points)
        solved = np.linalg.solve(self.factor, cross.T)
        mean, variance = self.centre + self.scale * (cross @ self.weights), np.full(len(points), self.most)
        if self.before is not None:
            earlier, deviation = self.before.predict(points)
            mean, variance = mean + earlier, variance + (deviation / self.scale) ** 2
        return mean, self.scale * np.sqrt(np.maximum(variance - np.sum(solved**2, axis=0), 1e-12))

    def believing(self, points: Array) -> Self:
        """Return the process as if its own mean had been seen at *points*: the mean stays, the doubt there goes.

        The kriging believer of Ginsbourger, Le Riche and Carraro, Kriging is well-suited to parallelize optimization,
        2010, with the hyperparameters of what was observed: a belief says nothing about them.
        """
        known = np.linalg.solve(self.factor, self._believed(self.points, points))
        rest = self._believed(points, points) - known.T @ known + JITTER * np.eye(len(points))
        factor = np.block([[self.factor, np.zeros_like(known)], [known.T, np.linalg.cholesky(rest)]])
        weights = np.concatenate([self.weights, np.zeros(len(points))])
        return replace(self, points=np.vstack([self.points, points]), factor=factor, weights=weights)

    @property
    def most(self) -> float:
        """Variance of the function, or of its change, where nothing was observed, in units of `scale` squared."""
        return self.together + self.apart

    def covariance(self, points: Array, others: Array) -> Array:
        """Return the covariance of the function at *points* and at *others*, shape ``(m, k)``, after the fit."""
        known, other = (np.linalg.solve(self.factor, self._believed(at, self.points).T) for at in (points, others))
        return np.asarray(self.scale**2 * (self._believed(points, others) - known.T @ other))

    def _believed(self, points: Array, others: Array) -> Array:
        """Return the covariance before the fit, in units of `scale` squared."""
        squares = (points[:, None, :] - others[None, :, :]) ** 2
        found = _kernel(squares / self.lengths**2, self.together, self.apart)
        return found if self.before is None else found + self.before.covariance(points, others) / self.scale**2


def _priors(dimensions: int) -> list[Prior]:
    return [*[LENGTH] * dimensions, TOGETHER, APART, NOISE]


def matern(scaled_squares: Array) -> Array:
    """Return the Matérn 5/2 kernel from squared, scaled distances."""
    distance = SQRT5 * np.sqrt(scaled_squares)
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


def _kernel(scaled: Array, together: float, apart: float) -> Array:
    """Return the covariance for squared distances of each dimension in units of its length, shape ``(n, m, d)``."""
    return np.asarray(together * matern(np.sum(scaled, axis=-1)) + apart * np.mean(matern(scaled), axis=-1))


def _slope(scaled_squares: Array) -> Array:
    """Return what the derivative of the kernel by the logarithm of a length is, for each unit of its scaled square."""
    distance = SQRT5 * np.sqrt(scaled_squares)
    return np.asarray(5 / 3 * (1 + distance) * np.exp(-distance))


def _loss(logs: Array, squares: Array, targets: Array, unknown: Array) -> tuple[float, Array]:
    """Return the negative log posterior of the hyperparameters and its gradient.

    *unknown* is the covariance of what no hyperparameter changes.
    """
    count, dimensions = len(targets), squares.shape[-1]
    *lengths, together, apart, noise = np.exp(logs)
    scaled = squares / np.square(lengths)
    total = np.sum(scaled, axis=-1)
    joint, single = together * matern(total), apart * np.mean(matern(scaled), axis=-1)
    factor = np.linalg.cholesky(joint + single + unknown + (noise**2 + JITTER) * np.eye(count))
    inverse = np.linalg.solve(factor.T, np.linalg.solve(factor, np.eye(count)))
    weights = inverse @ targets
    outer = inverse - np.outer(weights, weights)
    by_length = (together * _slope(total)[..., None] + apart / dimensions * _slope(scaled)) * scaled
    gradient = 0.5 * np.array(
        [
            *np.einsum("ij,ijk->k", outer, by_length),
            np.sum(outer * joint),
            np.sum(outer * single),
            2 * np.trace(outer) * noise**2,
        ]
    )
    loss = 0.5 * targets @ weights + np.sum(np.log(np.diag(factor)))
    for place, prior in enumerate(_priors(dimensions)):
        off = (logs[place] - prior.mean) / prior.deviation
        loss += 0.5 * off**2
        gradient[place] += off / prior.deviation
    return float(loss), gradient
