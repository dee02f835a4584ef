"""The search: a Gaussian process for the objective, one a constraint, one for crash or no crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from pytest_msprof.tuning.encoding import Cube
from pytest_msprof.tuning.gaussian import GaussianProcess

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["ConstrainedGPSampler"]

Array = NDArray[np.float64]
Constraints = Callable[["FrozenTrial"], Sequence[float]]

CANDIDATES = 512
DESIGN_CANDIDATES = 256
LEAST = 1e-6
"""A probability below this counts as this: no region is ever given up for good."""


class ConstrainedGPSampler(BaseSampler):
    """Proposes by expected improvement × P(feasible) × P(no crash), for any plain Optuna study.

    The first *n_startup_trials* fill the space: after whatever was enqueued, each is the point of a
    scrambled Sobol set that lies farthest from those before. A trial that ended as FAIL is a crash
    and is learned from, unless its user attribute `interrupted` is set; with `refused` beside it,
    its point is not proposed again. Constraints come from `trial.set_constraint`, or from
    *constraints_func*; ≤ 0 is feasible, and the size counts.

    Random numbers come from *seed* and the number of finished trials: a serial study that is
    interrupted and resumed proposes what it would have proposed.
    """

    def __init__(
        self, seed: int | None = None, n_startup_trials: int = 6, constraints_func: Constraints | None = None
    ) -> None:
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0]) if seed is None else seed
        self._startup = n_startup_trials
        self._constraints = constraints_func
        self._random = RandomSampler(seed=self._seed)
        self.expected_gain: float | None = None
        """What the last proposal promised: improvement relative to the best × P(feasible) × P(no crash).

        None before there is a best, and where the proposal was meant to fill the space.
        """

    def reseed_rng(self) -> None:
        """Take other random numbers than the sampler this one was copied from."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the union over all trials: the intersection is empty once a trial stopped early."""
        del trial
        space: dict[str, BaseDistribution] = {}
        for other in study.get_trials(deepcopy=False):
            space |= {name: found for name, found in other.distributions.items() if not found.single()}
        return dict(sorted(space.items()))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a point; empty in a space that no trial has shown yet."""
        self.expected_gain = None
        if not search_space:
            return {}
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        finished = [other for other in trials if other.state.is_finished() and "interrupted" not in other.user_attrs]
        generator = np.random.default_rng([self._seed, len(finished)])
        cube = Cube(search_space)
        tried = [other.params for other in trials if "interrupted" not in other.user_attrs and other.params]
        refused = [other.params for other in trials if "refused" in other.user_attrs and other.params]
        if len(tried) < self._startup or not any(_value(other) is not None for other in finished):
            return _farthest(cube, [*tried, *refused], generator)
        return self._best(study, cube, finished, [*tried, *refused], generator)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a parameter that no trial has shown yet."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _best(
        self,
        study: Study,
        cube: Cube,
        finished: Sequence[FrozenTrial],
        taken: Sequence[Mapping[str, Any]],
        generator: np.random.Generator,
    ) -> dict[str, Any]:
        measured = [other for other in finished if _value(other) is not None]
        points = cube.encode([other.params for other in measured])
        values = _scores([float(_value(other) or 0.0) for other in measured], study.direction)
        excess = self._excesses(measured)
        feasible = np.all(excess <= 0, axis=1)
        centres = [measured[place].params for place in np.argsort(-np.where(feasible, values, -np.inf))[:3]]
        candidates = _candidates(cube, centres, taken, generator)
        if not candidates:
            return _farthest(cube, taken, generator)
        at = cube.encode(candidates)
        merit = _improvement(GaussianProcess.fit(points, values), at, values[feasible])
        for column in range(excess.shape[1]):
            merit *= _probability_met(points, excess[:, column], at)
        merit *= _probability_alive(cube, finished, at) ** 2  # a crash teaches less than a miss, and costs as much
        if np.any(feasible):
            self.expected_gain = float(np.max(merit)) / _unit(
                [float(_value(other) or 0.0) for other in measured], float(values[feasible].max())
            )
        return candidates[int(np.argmax(merit))]

    def _excesses(self, trials: Sequence[FrozenTrial]) -> Array:
        """Return what each trial says of each constraint, shape ``(n, c)``; a missing one counts as met."""
        rows = [self._constraints_of(trial) for trial in trials]
        names = sorted({name for row in rows for name in row})
        return np.array([[row.get(name, 0.0) for name in names] for row in rows], float).reshape(len(rows), len(names))

    def _constraints_of(self, trial: FrozenTrial) -> dict[str, float]:
        if self._constraints is None:
            return dict(trial.constraints)
        return {str(place): float(value) for place, value in enumerate(self._constraints(trial))}


def _value(trial: FrozenTrial) -> float | None:
    return trial.value if trial.state == TrialState.COMPLETE else None


def _scores(values: Sequence[float], direction: StudyDirection) -> Array:
    """Return what is to be maximised: the logarithm where all values are positive, since gains are ratios."""
    found = np.array(values, float)
    if np.all(found > 0):
        found = np.log(found)
    return found if direction == StudyDirection.MAXIMIZE else -found


def _unit(measured: Sequence[float], best: float) -> float:
    """Return the score that is once the best value: 1 for logarithms."""
    return 1.0 if min(measured) > 0 else abs(best) or 1.0


def _farthest(cube: Cube, taken: Sequence[Mapping[str, Any]], generator: np.random.Generator) -> dict[str, Any]:
    """Return the point of a Sobol set that lies farthest from all that were taken (maximin)."""
    candidates = [cube.from_units(units) for units in _sobol(cube.raw, DESIGN_CANDIDATES, generator)]
    if not taken:
        return candidates[0]
    gaps = cube.encode(candidates)[:, None, :] - cube.encode(taken)[None, :, :]
    return candidates[int(np.argmax(np.min(np.sum(gaps**2, axis=-1), axis=1)))]


def _candidates(
    cube: Cube,
    centres: Sequence[Mapping[str, Any]],
    taken: Sequence[Mapping[str, Any]],
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return points over the whole cube and around the best, none of which was tried."""
    found = [cube.from_units(units) for units in _sobol(cube.raw, CANDIDATES, generator)]
    for centre in centres:
        near = cube.neighbours(centre, generator)
        found += near
        for point in near[:: max(1, len(near) // 8)]:
            found += cube.neighbours(point, generator)
    known = {_key(cube, parameters) for parameters in taken}
    distinct = {_key(cube, point): point for point in found}
    return [point for key, point in distinct.items() if key not in known]


def _key(cube: Cube, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(parameters.get(name) for name in cube.space)


def _sobol(dimensions: int, count: int, generator: np.random.Generator) -> Array:
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(dimensions, rng=generator).random(count), float)


def _improvement(process: GaussianProcess, at: Array, best: Array) -> Array:
    """Return expected improvement over the best feasible value; 1 everywhere while there is none."""
    from scipy.special import ndtr

    if not best.size:
        return np.ones(len(at))
    mean, deviation = process.predict(at)
    gain = mean - best.max()
    z = gain / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(np.maximum(gain * ndtr(z) + deviation * density, 1e-12), float)


def _probability_met(points: Array, excess: Array, at: Array) -> Array:
    """Return the probability that a constraint is met at each candidate."""
    from scipy.special import ndtr

    if np.all(excess <= 0) and np.ptp(excess) == 0:
        return np.ones(len(at))
    scaled = np.log1p(excess) if np.all(excess > -1) else np.arcsinh(excess / (np.median(np.abs(excess)) or 1.0))
    mean, deviation = GaussianProcess.fit(points, np.asarray(scaled, float)).predict(at)
    return np.asarray(np.maximum(ndtr(-mean / deviation), LEAST), float)


def _probability_alive(cube: Cube, finished: Sequence[FrozenTrial], at: Array) -> Array:
    """Return the probability that a candidate does not crash; 1 while nothing crashed."""
    from scipy.special import ndtr

    alive = np.array([1.0 if trial.state == TrialState.COMPLETE else -1.0 for trial in finished])
    if np.all(alive > 0):
        return np.ones(len(at))
    process = GaussianProcess.fit(cube.encode([trial.params for trial in finished]), alive)
    mean, deviation = process.predict(at)
    return np.asarray(np.maximum(ndtr(mean / deviation), LEAST), float)
