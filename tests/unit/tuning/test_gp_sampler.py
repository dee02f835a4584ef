"""Our sampler in plain Optuna studies: constraints, crashes, conditional fields, exact resume."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy.optimize import check_grad

from pytest_msprof.tuning import ConstrainedGPSampler
from pytest_msprof.tuning.encoding import Cube
from pytest_msprof.tuning.gaussian import GaussianProcess, _loss, matern

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_of(sampler, **options):
    return optuna.create_study(direction="maximize", sampler=sampler, **options)


def server(trial):
    """A batching server: throughput grows with the batch, the wait too, and memory ends."""
    batch = trial.suggest_int("batch", 1, 256, log=True)
    dtype = trial.suggest_categorical("dtype", ["bf16", "fp32", "fp8"])
    if batch > 200 or (dtype == "fp32" and batch > 100):
        raise MemoryError
    speed = {"bf16": 1.0, "fp32": 0.5, "fp8": 1.2}[dtype]
    return speed * batch / (batch + 30), 0.05 + 0.002 * batch


def drive(study, trials, *, limit=0.25):
    best = 0.0
    for _ in range(trials):
        trial = study.ask()
        try:
            value, ttft = server(trial)
        except MemoryError:
            study.tell(trial, state=TrialState.FAIL)
            continue
        trial.set_constraint("ttft", ttft / limit - 1)
        study.tell(trial, value)
        best = max(best, value) if ttft <= limit else best
    return best


def test_it_finds_the_best_feasible_configuration_where_random_search_does_not():
    optimum = 1.2 * 100 / 130
    ours = [drive(study_of(ConstrainedGPSampler(seed=seed)), 16) / optimum for seed in range(3)]
    random = [drive(study_of(optuna.samplers.RandomSampler(seed=seed)), 16) / optimum for seed in range(3)]
    assert np.mean(ours) > 0.95
    assert np.mean(ours) > np.mean(random)


def test_a_crash_teaches_it_to_stay_away():
    study = study_of(ConstrainedGPSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        if x > 0.5:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 1 - (x - 0.3) ** 2)
    late = [trial.state for trial in study.trials[10:]]
    assert late.count(TrialState.FAIL) <= 2


def test_a_pruned_trial_counts_with_what_it_reported_last_and_is_no_crash():
    study = study_of(ConstrainedGPSampler(seed=0, n_startup_trials=2))
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for place in range(9):
        trial = study.ask(space)
        x = trial.params["x"]
        trial.report(1 - (x - 0.9) ** 2, 0)
        if place == 0 or x < 0.3:
            trial.set_constraint("ttft", -1.0)
            study.tell(trial, 1 - (x - 0.9) ** 2)
        else:
            study.tell(trial, state=TrialState.PRUNED)

    assert [trial.state for trial in study.trials].count(TrialState.PRUNED) > 4
    assert study.ask(space).params["x"] == pytest.approx(0.9, abs=0.1)


def test_an_interrupted_trial_is_no_crash():
    sampler = ConstrainedGPSampler(seed=0, n_startup_trials=2)
    study = study_of(sampler)
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for value in (0.2, 0.8):
        study.add_trial(optuna.trial.create_trial(params={"x": value}, distributions=space, value=value))
    expected = study.ask(space).params
    study.tell(2, state=TrialState.FAIL)
    again = study_of(ConstrainedGPSampler(seed=0, n_startup_trials=2))
    for value in (0.2, 0.8):
        again.add_trial(optuna.trial.create_trial(params={"x": value}, distributions=space, value=value))
    interrupted = again.ask(space)
    interrupted.set_user_attr("interrupted", "by a signal")
    again.tell(interrupted, state=TrialState.FAIL)
    assert again.ask(space).params == expected


def test_a_study_in_another_process_goes_on_as_if_it_had_not_been_interrupted():
    whole = study_of(ConstrainedGPSampler(seed=3))
    drive(whole, 12)
    first = study_of(ConstrainedGPSampler(seed=3))
    drive(first, 8)
    second = study_of(ConstrainedGPSampler(seed=3))
    second.add_trials(first.trials)
    drive(second, 4)
    assert [trial.params for trial in second.trials] == [trial.params for trial in whole.trials]


def test_constraints_may_come_from_a_function():
    def constraints(trial):
        return [trial.params["x"] - 0.3]

    study = study_of(ConstrainedGPSampler(seed=1, constraints_func=constraints))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=15)
    assert max(trial.value for trial in study.trials if trial.value <= 0.3) > 0.27
    assert sum(trial.value > 0.35 for trial in study.trials[8:]) <= 2


def test_a_field_that_exists_only_sometimes_is_proposed_where_it_exists():
    def objective(trial):
        if not trial.suggest_categorical("batching", [False, True]):
            return 1.0
        return 3.0 + trial.suggest_int("blocks", 1, 64, log=True) / 64

    study = study_of(ConstrainedGPSampler(seed=2))
    study.enqueue_trial({"batching": False})
    study.optimize(objective, n_trials=16)
    assert study.best_value > 3.8


def test_a_point_that_was_tried_is_not_proposed_again():
    study = study_of(ConstrainedGPSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_int("n", 1, 12) ** 0.5, n_trials=12)
    assert sorted(trial.params["n"] for trial in study.trials) == list(range(1, 13))


def test_the_gradient_of_the_model_is_its_derivative():
    generator = np.random.default_rng(0)
    points = generator.random((12, 3))
    values = np.sin(5 * points[:, 0]) + points[:, 1]
    squares = (points[:, None] - points[None]) ** 2
    targets = (values - values.mean()) / values.std()
    at = np.array([-0.5, 0.1, 0.3, -1.0, 0.2, -2.0])
    unknown = 0.1 * matern(np.sum(squares, axis=-1))
    given = squares, targets, unknown
    found = check_grad(lambda x: _loss(x, *given)[0], lambda x: _loss(x, *given)[1], at)
    assert found < 1e-4


def test_the_model_knows_what_it_does_not_know():
    points = np.linspace(0, 0.4, 8)[:, None]
    process = GaussianProcess.fit(points, np.sin(8 * points[:, 0]))
    _, deviation = process.predict(np.array([[0.2], [1.0]]))
    assert deviation[1] > 5 * deviation[0]


def test_two_studies_together_are_one_gaussian():
    """What the earlier one did not know stays unknown: the posterior is that of all observations at once."""
    generator = np.random.default_rng(0)
    old, new, at = (generator.random((count, 2)) for count in (12, 5, 7))
    old[:, 0] *= 0.5
    values = np.sin(5 * old[:, 0]) + old[:, 1], np.sin(5 * new[:, 0]) + 0.8 * new[:, 1]
    earlier = GaussianProcess.fit(old, values[0])
    process = GaussianProcess.fit(new, values[1], earlier)

    def covariance(of, one, other):
        squares = (one[:, None, :] - other[None, :, :]) ** 2 / of.lengths**2
        return of.scale**2 * (of.together * matern(squares.sum(-1)) + of.apart * matern(squares).mean(-1))

    seen = np.vstack([old, new])
    together = covariance(earlier, seen, seen)
    together[12:, 12:] += covariance(process, new, new)
    together += np.diag([earlier.noise**2] * 12 + [process.noise**2] * 5)
    cross = covariance(earlier, at, seen)
    cross[:, 12:] += covariance(process, at, new)
    rest = np.concatenate([values[0] - earlier.centre, values[1] - earlier.centre - process.centre])
    variance = np.diag(covariance(earlier, at, at) + covariance(process, at, at))
    variance = variance - np.sum(cross * np.linalg.solve(together, cross.T).T, axis=1)

    mean, deviation = process.predict(at)

    assert mean == pytest.approx(earlier.centre + process.centre + cross @ np.linalg.solve(together, rest), abs=1e-4)
    assert deviation == pytest.approx(np.sqrt(variance), rel=1e-3)


@pytest.mark.parametrize(
    "distribution",
    [
        optuna.distributions.IntDistribution(1, 9),
        optuna.distributions.IntDistribution(8, 128, log=True),
        optuna.distributions.IntDistribution(0, 95, step=10),
        optuna.distributions.FloatDistribution(0.1, 10, log=True),
        optuna.distributions.CategoricalDistribution([1, 2, 4, 8]),
        optuna.distributions.CategoricalDistribution(["a", "b", "c"]),
    ],
)
def test_every_value_of_a_distribution_has_its_place_in_the_cube(distribution):
    cube = Cube({"field": distribution})
    found = [cube.from_units(np.array([unit]))["field"] for unit in np.linspace(0, 1, 2001)]
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in found)
    ends = (found[0], found[-1])
    if hasattr(distribution, "choices"):
        assert set(found) == set(distribution.choices)
    else:
        assert ends == (pytest.approx(distribution.low), pytest.approx(distribution.high))
    assert all(math.isfinite(x) for x in cube.encode([{"field": value} for value in set(found)]).ravel())


def test_what_a_clock_or_a_client_ended_teaches_nothing_about_crashes():
    told = {}
    for failure in ("timeout", "client errors", "out of memory"):
        study = study_of(ConstrainedGPSampler(seed=0))
        for number in range(12):
            trial = study.ask()
            size = trial.suggest_int("size", 1, 1000)
            if number % 2:
                trial.set_user_attr("failure", failure)
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, size / 1000)
        told[failure] = study.ask({"size": optuna.distributions.IntDistribution(1, 1000)}).params["size"]

    assert told["timeout"] == told["client errors"] != told["out of memory"]


def test_it_expects_less_the_more_it_knows():
    sampler = ConstrainedGPSampler(seed=0)
    study = study_of(sampler)
    gains = []
    for _ in range(20):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        study.tell(trial, 1 - (x - 0.3) ** 2)
        gains.append(sampler.expected_gain)

    assert gains[:3] == [None] * 3
    assert gains[-1] < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_it_walks_towards_a_small_feasible_corner_while_nothing_is_feasible(seed):
    study = study_of(ConstrainedGPSampler(seed=seed))
    found = False
    for _ in range(40):  # the lot finds it with a probability of 8 %
        trial = study.ask()
        one, other = trial.suggest_float("one", 0, 1), trial.suggest_float("other", 0, 1)
        distance = math.hypot(one - 0.93, other - 0.07)
        trial.set_constraint("ttft", 40 * distance - 1)
        found = found or distance <= 1 / 40
        study.tell(trial, 1 + one)
    assert found
