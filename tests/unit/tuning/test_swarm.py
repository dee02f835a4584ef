"""The particle swarm converges, says when its coefficients cannot, and adapts the load at the end."""

from __future__ import annotations

import pytest
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, floats, integers
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.tuning import ParticleSwarm
from pytest_msprof.tuning.study import Exhausted
from pytest_msprof.tuning.swarm import DivergingSwarm

BOWL = SearchSpace(floats("x", 0, 1), floats("y", 0, 1), default={"x": 0.05, "y": 0.95})


def distance(fields):
    return abs(fields["x"] - 0.62) + abs(fields["y"] - 0.31)


def distances(folder, swarm, trials=60):
    """Return how far each proposal was from the optimum."""
    study = make_study(folder, make_plan(BOWL, search=swarm, seed=1, n_trials=200))
    found = []
    for _ in range(trials):
        proposal = study.ask()
        study.tell(proposal, make_run(10 - distance(proposal.fields)))
        found.append(distance(proposal.fields))
    return found


def test_the_swarm_gathers_at_the_optimum(tmp_path):
    found = distances(tmp_path, ParticleSwarm(n_particles=6))

    assert sum(found[-12:]) < sum(found[:12]) / 3
    assert min(found) < 0.05


def test_coefficients_of_the_original_never_gather_and_say_so(tmp_path):
    with pytest.warns(DivergingSwarm, match="w=1.8, c1=2, c2=2 diverges"):
        swarm = ParticleSwarm(n_particles=6, c1=2, c2=2, w=1.8)

    found = distances(tmp_path, swarm)
    assert sum(found[-12:]) > sum(found[:12]) / 2


@pytest.mark.parametrize("values", [{"n_particles": -1}, {"w": float("nan")}, {"step_size": float("inf")}])
def test_a_coefficient_that_is_none_is_refused(values):
    with pytest.raises(ConfigurationError, match=f"pso needs {next(iter(values))} from 0"):
        ParticleSwarm(**values)


def test_other_coefficients_are_another_question():
    one, other = (make_plan(search=ParticleSwarm(n_particles=number)) for number in (4, 5))

    assert one.digest() != other.digest()


def test_after_its_last_generation_the_load_of_the_best_is_adapted_to_the_limit(tmp_path):
    space = SearchSpace(integers("seqs", 1, 64, log=True), integers("CONCURRENCY", 1, 400))
    plan = make_plan(
        space, search=ParticleSwarm(n_particles=4, iters=2), subject_to={"tpot.p50": 0.05}, n_trials=30, seed=2
    )
    study = make_study(tmp_path, plan)
    asked, most = [], 1 + 4 * 2 + 10
    reason = ""
    while not reason:
        try:
            proposal = study.ask()
        except Exhausted as end:
            reason = str(end)
        else:
            load = proposal.fields.get("CONCURRENCY", 10)
            study.tell(proposal, make_run(float(load), tpot=load / 2000))
            asked.append(proposal.fields)

    assert reason == "the swarm has settled"
    best = max(fields["CONCURRENCY"] for fields in asked[1:] if fields["CONCURRENCY"] / 2000 <= 0.05)
    assert 1 + 4 * 2 < len(asked) <= most
    assert 90 <= best <= 100
