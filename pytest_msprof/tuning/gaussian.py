"""Gaussian process regression on a few dozen points: fit, mean and deviation. numpy and scipy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["GaussianProcess", "matern"]

Array = NDArray[np.floating]

SQRT5 = 5**0.5
JITTER = 1e-8
LENGTH_PRIOR = (np.log(0.6), 0.8)
"""Mean and deviation of the logarithm of a length scale on the unit cube."""
NOISE_PRIOR = (np.log(0.05), 1.2)
"""The same for the standard deviation of the noise, in units of the observations' deviation."""
BOUNDS = {"length": (np.log(0.05), np.log(8.0)), "noise": (np.log(1e-3), np.log(1.0))}
FIT_STEPS = 40


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A fitted process with a Matérn 5/2 kernel and one length scale a dimension.

    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1 and
    equation 4.17; hyperparameters are the most probable ones under log-normal priors.
    """

    points: Array
    lengths: Array
    noise: float
    factor: Array
    weights: Array
    centre: float
    scale: float

    @classmethod
    def fit(cls, points: Array, values: Array) -> Self:
        """Fit to *values*, shape ``(n,)``, at *points* of the unit cube, shape ``(n, d)``."""
        from scipy.optimize import minimize

        centre, scale = float(np.mean(values)), float(np.std(values)) or 1.0
        targets = (values - centre) / scale
        squares = (points[:, None, :] - points[None, :, :]) ** 2
        start = np.append(np.full(points.shape[1], LENGTH_PRIOR[0]), NOISE_PRIOR[0])
        bounds = [BOUNDS["length"]] * points.shape[1] + [BOUNDS["noise"]]
        found = minimize(
            _loss,
            start,
            args=(squares, targets),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": FIT_STEPS},
        )
        lengths, noise = np.exp(found.x[:-1]), float(np.exp(found.x[-1]))
        kernel = matern(squares / lengths**2) + (noise**2 + JITTER) * np.eye(len(points))
        factor = np.linalg.cholesky(kernel)
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, targets))
        return cls(points, lengths, noise, factor, weights, centre, scale)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the function at *points*, shape ``(m, d)``."""
        squares = (points[:, None, :] - self.points[None, :, :]) ** 2 / self.lengths**2
        cross = matern(squares)
        solved = np.linalg.solve(self.factor, cross.T)
        variance = np.maximum(1.0 - np.sum(solved**2, axis=0), 1e-12)
        return self.centre + self.scale * (cross @ self.weights), self.scale * np.sqrt(variance)


def matern(scaled_squares: Array) -> Array:
    """Return the Matérn 5/2 kernel from squared, scaled differences, shape ``(n, m, d)``."""
    distance = np.sqrt(np.sum(scaled_squares, axis=-1))
    return np.asarray((1 + SQRT5 * distance + 5 / 3 * distance**2) * np.exp(-SQRT5 * distance))


def _loss(logs: Array, squares: Array, targets: Array) -> tuple[float, Array]:
    """Return the negative log posterior of the hyperparameters and its gradient."""
    lengths, noise = np.exp(logs[:-1]), np.exp(logs[-1])
    scaled = squares / lengths**2
    distance = np.sqrt(np.sum(scaled, axis=-1))
    decay = np.exp(-SQRT5 * distance)
    kernel = (1 + SQRT5 * distance + 5 / 3 * distance**2) * decay
    factor = np.linalg.cholesky(kernel + (noise**2 + JITTER) * np.eye(len(targets)))
    inverse = np.linalg.solve(factor.T, np.linalg.solve(factor, np.eye(len(targets))))
    weights = inverse @ targets
    outer = inverse - np.outer(weights, weights)
    slope = 5 / 3 * (1 + SQRT5 * distance) * decay
    gradient = np.append(0.5 * np.einsum("ij,ij,ijk->k", outer, slope, scaled), np.trace(outer) * noise**2)
    loss = 0.5 * targets @ weights + np.sum(np.log(np.diag(factor)))
    for place, (mean, deviation) in enumerate([LENGTH_PRIOR] * len(lengths) + [NOISE_PRIOR]):
        off = (logs[place] - mean) / deviation
        loss += 0.5 * off**2
        gradient[place] += off / deviation
    return float(loss), gradient
