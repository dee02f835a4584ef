"""Workers that share a study: each knows what the others are measuring, and proposes something else."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, integers
from pytest_msprof.tuning import ConstrainedGPSampler
from pytest_msprof.tuning.gaussian import GaussianProcess
from pytest_msprof.tuning.surrogate import Surrogate

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {name: optuna.distributions.FloatDistribution(0, 1) for name in "xy"}


def hill(parameters):
    return 1 + math.exp(-8 * ((parameters["x"] - 0.37) ** 2 + (parameters["y"] - 0.61) ** 2))


def measured(trials, seed):
    """Return a study on a hill with so many finished trials, by a sampler of that seed."""
    study = optuna.create_study(direction="maximize", sampler=ConstrainedGPSampler(seed=seed))
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, hill(trial.params))
    return study


def apart(proposals):
    return min(math.dist(one.values(), other.values()) for one, other in combinations(proposals, 2))


def test_proposals_that_wait_for_their_measurement_keep_away_from_each_other():
    aware, blind = [], []
    for seed in range(2):
        study = measured(10, seed)
        done = study.get_trials()
        aware.append(apart([study.ask(SPACE).params for _ in range(4)]))
        proposals = []
        for worker in range(4):
            alone = optuna.create_study(direction="maximize", sampler=ConstrainedGPSampler(seed=seed + 7919 * worker))
            alone.add_trials(done)
            proposals.append(alone.ask(SPACE).params)
        blind.append(apart(proposals))

    assert np.mean(aware) > 3 * np.mean(blind)


def test_a_neighbour_that_is_being_measured_is_not_measured_again():
    study = measured(12, 0)
    done = study.get_trials()
    running = study.ask(SPACE)
    distances = []
    for others in (done, study.get_trials()):
        other = optuna.create_study(direction="maximize", sampler=ConstrainedGPSampler(seed=7919))
        other.add_trials(others)
        distances.append(math.dist(other.ask(SPACE).params.values(), running.params.values()))
    alone, beside = distances

    assert alone < 0.02
    assert beside > 5 * alone


def test_what_is_promised_beside_others_is_still_an_improvement_on_what_was_measured():
    study = measured(8, 1)
    study.ask(SPACE)
    alone = study.sampler.expected_gain
    study.ask(SPACE)

    assert 0 < study.sampler.expected_gain <= alone


def test_workers_of_one_seed_that_ask_at_the_same_moment_propose_different_points():
    study = measured(8, 2)
    both = [study._storage.create_new_trial(study._study_id) for _ in range(2)]
    trials = [study._storage.get_trial(trial) for trial in both]

    one, other = (study.sampler.sample_relative(study, trial, SPACE) for trial in trials)
    drawn = [study.sampler.sample_independent(study, trial, "z", SPACE["x"]) for trial in trials]

    assert one != other
    assert drawn[0] != drawn[1]


@given(st.integers(0, 2**16), st.integers(1, 4), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=15)
def test_a_belief_leaves_the_mean_and_takes_the_doubt(seed, count, twice, after):
    generator = np.random.default_rng(seed)
    points, pending, at = (generator.random((rows, 2)) for rows in (9, count, 20))
    pending = np.vstack([pending, pending]) if twice else pending
    values = np.sin(5 * points[:, 0]) + points[:, 1] + 0.05 * generator.standard_normal(9)
    before = GaussianProcess.fit(generator.random((8, 2)), generator.standard_normal(8)) if after else None
    process = GaussianProcess.fit(points, values, before)

    believing = process.believing(pending)

    everywhere = np.vstack([at, pending])
    (mean, doubt), (believed, left) = process.predict(everywhere), believing.predict(everywhere)
    assert believed == pytest.approx(mean, abs=1e-9)
    assert np.all(left <= doubt + 1e-9)
    assert np.all(left[len(at) :] < 1e-2 * np.std(values))


def test_where_a_crash_is_expected_another_one_is_too():
    points = np.linspace(0, 1, 11)[:, None]
    alive = np.where(points[:, 0] > 0.55, -1.0, 1.0)
    model = Surrogate.fit(points[:6], points[:6, 0], np.empty((6, 0)), points, alive)

    believing = model.believing(np.array([[0.95]]))

    assert believing.survives(np.array([[0.96]])) < model.survives(np.array([[0.96]]))
    assert believing.feasible(np.array([[0.96]])) == 1.0


def test_a_sampler_of_several_objectives_sees_what_others_are_measuring(tmp_path):
    seen = []

    class Seeing(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            states = (optuna.trial.TrialState.RUNNING,)
            seen.append([other.params for other in study.get_trials(states=states) if other.number != trial.number])

    space = SearchSpace(integers("size", 1, 64), default={"size": 8})
    plan = make_plan(space, search=Seeing(seed=0), objective=None, objectives=["ttft.p50", "output_throughput"])
    study = make_study(tmp_path, plan)
    study.tell(study.ask(), make_run(1.0))
    running, before = study.ask(), len(seen)
    study.ask()

    assert all(others == [] for others in seen[:before])
    assert all(others == [running.fields] for others in seen[before:])
    assert len(seen) > before
