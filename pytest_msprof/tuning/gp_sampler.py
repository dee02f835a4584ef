"""The search: a Gaussian process for the objective, one a constraint, one for crash or no crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from pytest_msprof.failures import NO_CRASH
from pytest_msprof.tuning.candidates import Candidates, Completion
from pytest_msprof.tuning.encoding import Cube
from pytest_msprof.tuning.one_thread import on_one_thread
from pytest_msprof.tuning.prior import model_before, says_something
from pytest_msprof.tuning.ranking import union
from pytest_msprof.tuning.surrogate import Surrogate, missed_by, scores

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from pytest_msprof.tuning.prior import Earlier

__all__ = ["ConstrainedGPSampler"]

Array = NDArray[np.float64]
Constraints = Callable[["FrozenTrial"], Sequence[float]]
Cost = Callable[[Mapping[str, Any]], float]

REACH = 0.6
"""Share of the way from a configuration that works to the rest of the cube that the first points go."""
CLOSER = 0.7
"""Factor by which each crash among them draws in those that follow."""
MARGIN = 1.0
"""Deviations of one run's noise that a metric should stay away from its limit: the winner must hold it again."""
SURE = 0.5
"""Probability of that from which a measured configuration is one to improve on."""
CAUTION = 2
"""Power of the probability of no crash: a crash teaches less than a miss, and costs as much."""
DEARER = 2.0
"""Factor between the costs of candidates beyond which the improvement a second counts, not that a trial."""


class ConstrainedGPSampler(BaseSampler):
    """Proposes by expected improvement × P(feasible) × P(no crash), for any plain Optuna study.

    The first *n_startup_trials* fill the space: after whatever was enqueued, each is the point of a
    scrambled Sobol set that lies farthest from those before. A trial that ended as FAIL is a crash
    and is learned from, unless its user attribute `interrupted` is set; with `refused` beside it,
    its point is not proposed again. One that was pruned counts with what it reported last.
    Constraints come from `trial.set_constraint`, or from *constraints_func*; ≤ 0 is feasible, and
    the size counts.

    What others are measuring is believed to come out as the model expects, so that nobody proposes its neighbour.

    Random numbers come from *seed* and the number of finished trials: a serial study that is
    interrupted and resumed proposes what it would have proposed. Where trials run, they come from
    the number of those asked for before, too: workers that know the same have different candidates.
    """

    def __init__(
        self, seed: int | None = None, n_startup_trials: int = 6, constraints_func: Constraints | None = None
    ) -> None:
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0]) if seed is None else seed
        self._startup = n_startup_trials
        self._constraints = constraints_func
        self.expected_gain: float | None = None
        """What the last proposal promised: improvement relative to the best × P(feasible) × P(no crash).

        None before there is a best, and where the proposal was meant to fill the space.
        """
        self.completed: Completion = dict
        """Makes of a candidate the parameters that a trial would really have; None where it may not be proposed."""
        self.value_of: Callable[[FrozenTrial], float] | None = None
        """Says what counts as the value of a trial that was measured; None for the one that Optuna keeps."""
        self.cost: Cost | None = None
        """Says how long a trial with these parameters will take, in any unit; None where all take the same."""
        self.running: Mapping[str, Any] = {}
        """Parameters that trials must share to take less; more candidates are drawn that do."""
        self.whole: Mapping[str, BaseDistribution] = {}
        """Parameters that a trial can have; what is missing here is known from the first trial that shows it."""
        self.earlier: Sequence[Earlier] = ()
        """Trials of an earlier study of another workload or machine: its model is where the new one begins.

        The space is then not filled first, and what is modelled is how far the new trials are from the old model.
        """

    def reseed_rng(self) -> None:
        """Take other random numbers than the sampler this one was copied from."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the union over all trials: the intersection is empty once a trial stopped early."""
        shown = [other.distributions for other in _counting(_others(study, trial))]
        return union([self.whole, *shown])

    @on_one_thread
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a point; empty in a space that no trial has shown yet."""
        self.expected_gain = None
        if not search_space:
            return {}
        others = _others(study, trial)
        counting = _counting(others)
        finished = [other for other in counting if other.state.is_finished()]
        generator = np.random.default_rng(self._entropy(counting, trial))
        cube = Cube(search_space)
        tried = [other.params for other in counting if other.params]
        refused = [other.params for other in others if "refused" in other.user_attrs and other.params]
        startup = 1 if says_something(self.earlier, cube) else self._startup
        candidates = Candidates(cube, self.completed, [*tried, *refused], generator)
        if len(tried) < startup or not any(map(_is_measured, finished)):
            return _first(candidates, finished)
        pending = [other.params for other in counting if other.state == TrialState.RUNNING and other.params]
        return self._best(study, candidates, finished, pending)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a parameter that no trial has shown yet."""
        entropy = self._entropy(_counting(_others(study, trial)), trial)
        seed = np.random.SeedSequence([*entropy, *param_name.encode()]).generate_state(1)[0]
        return RandomSampler(seed=int(seed)).sample_independent(study, trial, param_name, param_distribution)

    def _entropy(self, counting: Sequence[FrozenTrial], trial: FrozenTrial) -> list[int]:
        """Return what the random numbers come from; two workers that ask at once each see the other's trial."""
        finished = sum(other.state.is_finished() for other in counting)
        ahead = sum(other.state == TrialState.RUNNING and other.number < trial.number for other in counting)
        return [self._seed, finished, ahead] if ahead else [self._seed, finished]

    def _best(
        self, study: Study, drawn: Candidates, finished: Sequence[FrozenTrial], pending: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        cube = drawn.cube
        measured = [other for other in finished if _is_measured(other)]
        told = np.array([self.value_of(other) if self.value_of else other.value for other in measured], float)
        maximize = study.direction == StudyDirection.MAXIMIZE
        values = scores(told, maximize=maximize)
        names, excess = self._excesses(measured)
        points, feasible = cube.encode([other.params for other in measured]), np.all(excess <= 0, axis=1)
        if not np.any(feasible):  # the probability would only lead to where nothing is known
            values = -missed_by(excess)
        centres = [
            measured[place].params for place in np.argsort(-np.where(feasible | ~np.any(feasible), values, -np.inf))[:3]
        ]
        candidates = drawn.around(centres)
        if not candidates:
            return drawn.farthest()
        candidates += drawn.sharing(self.running, candidates)
        taught = [other for other in finished if _teaches(other)]
        alive = np.array([-1.0 if other.state == TrialState.FAIL else 1.0 for other in taught])
        before = (
            model_before(self.earlier, cube, names, maximize=maximize)
            if np.any(feasible) and np.min(told) > 0
            else None
        )
        model = Surrogate.fit(points, values, excess, cube.encode([other.params for other in taught]), alive, before)
        at = cube.encode(candidates)
        if is_met := bool(np.any(feasible)):
            surely = feasible & (model.feasible(points, MARGIN) >= SURE)
            best = float(np.max(model.mean(points[surely if np.any(surely) else feasible])))
        else:
            best = float(np.max(values))
        if not pending:
            merit = promised = _merit(model, at, best, heeds_limits=is_met)
        else:
            merit = _merit_beside(model, at, best, cube.encode(pending), heeds_limits=is_met)
            promised = _merit(model, at[[int(np.argmax(merit))]], best, heeds_limits=is_met)
        if is_met:
            self.expected_gain = float(np.max(promised)) / (1.0 if told.min() > 0 else abs(best) or 1.0)
        return candidates[int(np.argmax(merit / self._costs(candidates)))]

    def _costs(self, candidates: Sequence[Mapping[str, Any]]) -> Array:
        """Return what the trials of *candidates* take; all the same where they differ by no more than twice."""
        found = np.array([self.cost(candidate) if self.cost else 1.0 for candidate in candidates])
        return found if np.max(found) > DEARER * np.min(found) else np.ones(len(found))

    def _excesses(self, trials: Sequence[FrozenTrial]) -> tuple[list[str], Array]:
        """Return the constraints' names, and what each trial says of each, ``(n, c)``; a missing one counts as met."""
        rows = [self._constraints_of(trial) for trial in trials]
        names = sorted({name for row in rows for name in row})
        found = np.array([[row.get(name, 0.0) for name in names] for row in rows], float).reshape(len(rows), len(names))
        early = np.array([_is_estimated(trial) for trial in trials], bool)
        if np.any(early) and not np.all(early):
            found[early] = np.mean(found[~early], axis=0)
        return names, found

    def _constraints_of(self, trial: FrozenTrial) -> dict[str, float]:
        if self._constraints is None:
            return dict(trial.constraints)
        return {str(place): float(value) for place, value in enumerate(self._constraints(trial))}


def _merit(model: Surrogate, at: Array, best: float, *, heeds_limits: bool) -> Array:
    """Return expected improvement × P(feasible) × P(no crash), without the limits while nothing meets them."""
    gain = model.improvement(at, best)
    return np.asarray(model.survives(at) ** CAUTION * (model.feasible(at, MARGIN) * gain if heeds_limits else gain))


def _merit_beside(model: Surrogate, at: Array, best: float, pending: Array, *, heeds_limits: bool) -> Array:
    """Return the merit where trials run at the points *pending*, which are believed to come out as expected.

    One that is expected to work is what there is to improve on, by more than the noise of a run; where one is
    expected to crash or to miss a limit, its neighbours are, too. So no neighbour promises much.
    """
    believing = model.believing(pending)
    works = believing.survives(pending) >= SURE
    if heeds_limits:
        works &= believing.feasible(pending, MARGIN) >= SURE
    expected = model.mean(pending[works]) + model.objective.noise
    return _merit(believing, at, float(np.max(expected, initial=best)), heeds_limits=heeds_limits)


def _first(candidates: Candidates, finished: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return a point that fills the space around what works, the nearer to it the more has crashed."""
    crashed = sum(trial.state == TrialState.FAIL and _teaches(trial) for trial in finished)
    return candidates.farthest(_home(finished), REACH * CLOSER**crashed)


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    return [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]


def _counting(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that a resumed study has, too: what was interrupted is as if it had not been."""
    return [trial for trial in trials if "interrupted" not in trial.user_attrs]


def _is_measured(trial: FrozenTrial) -> bool:
    return (trial.state == TrialState.COMPLETE and trial.value is not None) or _is_estimated(trial)


def _is_estimated(trial: FrozenTrial) -> bool:
    """Say whether a trial ended early and has a value nevertheless; what it says of limits is not known."""
    return trial.state == TrialState.PRUNED and trial.value is not None


def _home(trials: Sequence[FrozenTrial]) -> Mapping[str, Any] | None:
    """Return the first configuration that works, usually the default: what is far from it crashes more often."""
    return next((trial.params for trial in trials if _is_measured(trial)), None)


def _teaches(trial: FrozenTrial) -> bool:
    """Say whether a trial tells something about crashes: what a client or a clock ended does not."""
    return trial.state != TrialState.FAIL or trial.user_attrs.get("failure") not in NO_CRASH
