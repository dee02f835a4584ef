"""What each field does to the objective, as a Gaussian process over all measured trials sees it, and how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.summary import Effect, EffectPoint
from pytest_msprof.tuning.encoding import Cube
from pytest_msprof.tuning.gaussian import GaussianProcess, matern
from pytest_msprof.tuning.one_thread import on_one_thread
from pytest_msprof.tuning.ranking import Measured, union

if TYPE_CHECKING:
    from pytest_msprof.space import SearchSpace

__all__ = ["effects"]

Array = NDArray[np.float64]

FEWEST = 6
"""Trials below which nothing is said."""
LEVELS = 9
"""Values at which a span is looked at, bounds included."""
MOST_CHOICES = 16
BASES = 12
"""Trials that the other fields take their values from."""
DRAWS = 200
MOST_BELIEFS = 8
LEVEL = (0.05, 0.95)
NOTHING = 0.5
"""Probability, before anything was measured, that no field has an effect."""
AMPLITUDES = np.geomspace(0.1, 3.0, 10)
SHORTEST = 0.3
"""Length scale below which a few dozen trials cannot tell a function from noise."""
NOISES = np.geomspace(0.02, 1.5, 14)
"""Standard deviations of the function and of the noise, in units of the observations', each as likely before."""


class _Belief(NamedTuple):
    """What is known about the function, one of several by weight."""

    weight: float
    amplitude: float
    noise: float


@on_one_thread
def effects(trials: Sequence[Measured], space: SearchSpace) -> tuple[Effect, ...]:
    """Return the effect of each field that varied, the most important first; nothing for fewer than six *trials*.

    A point of the partial dependence (Friedman, 2001) is the mean over what the other fields were
    in the trials; the importance is the share of the observed variance that goes when the field is
    held (total index of Sobol', 2001). Both are means of draws from the process, with the 5 % and
    95 % ends. How much of the variation is noise, or all of it, is part of the uncertainty; a
    configuration that was launched several times stands among *trials* as often, and says most about that.
    """
    found = union(trial.distributions for trial in trials)
    if len(trials) < FEWEST or not found:
        return ()
    cube = Cube(found)
    values = np.array([trial.value for trial in trials])
    is_positive = bool(np.all(values > 0))
    model = _Model(cube, [trial.parameters for trial in trials], np.log(values) if is_positive else values)
    made = [
        model.effect(name, grid, _back if is_positive else _same)
        for name in cube.space
        if len(grid := _grid(cube, name, space)) > 1
    ]
    return tuple(sorted((effect for effect in made if effect), key=lambda effect: -effect.importance))


class _Model:
    """The process over the trials, with its doubts about amplitude and noise."""

    def __init__(self, cube: Cube, trials: Sequence[Mapping[str, Any]], values: Array) -> None:
        self._cube, self._trials = cube, trials
        self._centre, self._scale = float(np.mean(values)), float(np.std(values)) or 1.0
        self._targets = (values - self._centre) / self._scale
        self._points = cube.encode(trials)
        self._lengths = np.maximum(GaussianProcess.fit(self._points, values).lengths, SHORTEST)
        self._beliefs = _beliefs(self._kernel(self._points, self._points), self._targets)

    def effect(self, name: str, grid: Sequence[tuple[Any, Any]], back: Any) -> Effect | None:
        """Return the effect of one field at the values of *grid*: parameters, and what people read."""
        bases = [trial for trial in self._trials if name in trial]
        bases = bases[:: -(-len(bases) // BASES)] if bases else []
        if not bases:
            return None
        at = self._cube.encode([{**base, name: parameter} for parameter, _ in grid for base in bases])
        drawn = self._draws(at).reshape(-1, len(grid), len(bases))
        shares = np.clip(np.var(drawn, axis=1).mean(axis=1), 0.0, 1.0)
        course = back(self._centre + self._scale * drawn.mean(axis=2))
        ends = np.quantile(course, LEVEL, axis=0)
        low, high = np.quantile(shares, LEVEL)
        points = tuple(
            EffectPoint(value=value, mean=float(mean), low=float(least), high=float(most))
            for (_, value), mean, least, most in zip(grid, np.median(course, axis=0), *ends, strict=True)
        )
        return Effect(field=name, importance=float(np.median(shares)), low=float(low), high=float(high), points=points)

    def _draws(self, at: Array) -> Array:
        """Return functions that the trials allow, at the points *at*, shape ``(draws, len(at))``."""
        generator = np.random.default_rng(len(self._targets))
        own, cross = self._kernel(at, at), self._kernel(at, self._points)
        kernel = self._kernel(self._points, self._points)
        counts = generator.multinomial(DRAWS, [belief.weight for belief in self._beliefs])
        parts = []
        for belief, count in zip(self._beliefs, counts, strict=True):
            if not count:
                continue
            power = belief.amplitude**2
            solved = np.linalg.solve(power * kernel + belief.noise**2 * np.eye(len(kernel)), power * cross.T)
            mean, covariance = solved.T @ self._targets, power * own - power * cross @ solved
            roots, axes = np.linalg.eigh(covariance)
            root = axes * np.sqrt(np.maximum(roots, 0.0))
            parts.append(mean + generator.standard_normal((count, len(at))) @ root.T)
        return np.concatenate(parts)

    def _kernel(self, one: Array, other: Array) -> Array:
        scaled = (one[:, None, :] - other[None, :, :]) / self._lengths
        return np.asarray(matern(np.sum(scaled**2, axis=-1)), float)


def _beliefs(kernel: Array, targets: Array) -> list[_Belief]:
    """Weigh pairs of amplitude and noise by how likely they make the observations, and keep the likely ones."""
    roots, axes = np.linalg.eigh(kernel)
    along = (axes.T @ targets) ** 2
    pairs = [(amplitude, noise) for amplitude in (0.0, *AMPLITUDES) for noise in NOISES]
    before = np.array([NOTHING if not amplitude else (1 - NOTHING) / len(AMPLITUDES) for amplitude, _ in pairs])
    spread = np.array([amplitude**2 * np.maximum(roots, 0.0) + noise**2 for amplitude, noise in pairs])
    likely = np.log(before) - 0.5 * np.sum(along / spread + np.log(spread), axis=1)
    weights = np.exp(likely - np.max(likely))
    best = np.argsort(-weights)[:MOST_BELIEFS]
    total = float(np.sum(weights[best]))
    return [_Belief(float(weights[place]) / total, *pairs[place]) for place in best]


def _grid(cube: Cube, name: str, space: SearchSpace) -> list[tuple[Any, Any]]:
    """Return the values at which a field is looked at: as Optuna stores them, and as people read them."""
    from pytest_msprof.tuning.proposals import from_parameter

    place = list(cube.space).index(name)
    choices = getattr(cube.space[name], "choices", None)
    count = min(len(choices), MOST_CHOICES) if choices is not None else LEVELS
    units = np.full((count, cube.raw), 0.5)
    units[:, place] = (np.arange(count) + 0.5) / count if choices is not None else np.linspace(0, 1, count)
    found = dict.fromkeys(cube.from_units(row)[name] for row in units)
    return [(parameter, from_parameter(space[name], parameter) if name in space else parameter) for parameter in found]


def _back(values: Array) -> Array:
    return np.asarray(np.exp(values), float)


def _same(values: Array) -> Array:
    return values
