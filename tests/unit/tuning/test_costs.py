"""Where a start takes long, what can be varied without one is varied more; elsewhere nothing changes."""

from __future__ import annotations

import optuna
import pytest
from measured import make_plan, make_run, make_study
from optuna.distributions import FloatDistribution

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.ids import new_id
from pytest_msprof.tuning import ConstrainedGPSampler
from pytest_msprof.tuning.study import Exhausted

SPACE = SearchSpace(
    integers("blocks", 1, 64, log=True),
    choice("eager", [False, True]),
    integers("CONCURRENCY", 1, 64, log=True),
    default={"blocks": 8, "eager": False, "CONCURRENCY": 4},
)
TRIALS = 20
RUN = 10.0
"""Seconds of a run; a start of 50 makes a trial 6 times as long, the middle of an octave."""


class Machine:
    """One device on which a service stays until other fields are asked for; its seconds are only written down."""

    def __init__(self, start: float) -> None:
        self.start, self.seconds, self.starts = start, 0.0, 0
        self.running: tuple[object, ...] | None = None
        self.launch = ""

    def measure(self, study, proposal):
        """Measure a proposal and tell the study."""
        fields = proposal.fields
        wanted = (fields["blocks"], fields["eager"])
        took = RUN
        if wanted != self.running:
            self.running, self.launch, self.starts, took = wanted, new_id(), self.starts + 1, RUN + self.start
        self.seconds += took
        proposal.asked_at -= took
        speed = 100 / (1 + abs(fields["blocks"] - 20) / 20) / (1 + abs(fields["CONCURRENCY"] - 30) / 10)
        run = make_run(
            speed * (1.2 if fields["eager"] else 1.0),
            launch_id=self.launch,
            session_id=study.session_id,
            environment={"ready_after": self.start},
        )
        study.tell(proposal, run)


def is_load_side(name):
    return name == "CONCURRENCY"


def opened(folder, **options):
    plan = make_plan(SPACE, search="auto", n_trials=TRIALS, seed=3)
    return make_study(folder, plan, is_load_side=is_load_side, **options)


def searched(study, machine):
    try:
        while not study.is_spent():
            machine.measure(study, study.ask())
    except Exhausted:
        pass
    return [record.fields for record in study.records()]


def test_a_slow_start_keeps_more_trials_inside_one_service(tmp_path):
    slow, quick = Machine(start=50.0), Machine(start=1.0)

    searched(opened(tmp_path / "slow"), slow)
    searched(opened(tmp_path / "quick"), quick)

    assert slow.starts < quick.starts - 4


def test_the_trials_that_fill_the_space_go_in_pairs_where_a_start_is_slow(tmp_path):
    slow, quick = Machine(start=50.0), Machine(start=1.0)
    for machine in (slow, quick):
        study = opened(tmp_path / str(machine.start))
        for _ in range(6):
            machine.measure(study, study.ask())

    assert slow.starts == 3
    assert quick.starts >= 5


def test_where_a_start_takes_no_longer_than_a_run_the_proposals_do_not_depend_on_it(tmp_path):
    plan = make_plan(SPACE, search="auto", n_trials=TRIALS, seed=3)
    without = searched(make_study(tmp_path / "nothing is load-side", plan), Machine(start=50.0))

    assert searched(opened(tmp_path / "quick"), Machine(start=9.0)) == without


def test_a_study_that_is_resumed_over_and_over_counts_what_the_log_holds(tmp_path):
    whole = searched(opened(tmp_path / "whole"), Machine(start=50.0))

    while len(opened(tmp_path / "parts").records()) < len(whole):
        study, machine = opened(tmp_path / "parts"), Machine(start=50.0)
        for _ in range(7):
            if not study.is_spent():
                machine.measure(study, study.ask())

    assert [record.fields for record in opened(tmp_path / "parts").records()] == whole


def test_a_failure_leaves_no_service_that_could_be_shared(tmp_path):
    study, machine = opened(tmp_path), Machine(start=50.0)
    for _ in range(8):
        machine.measure(study, study.ask())
    study.ask()
    sampler = study._study.sampler
    assert set(sampler.running) == {"blocks", "eager"}

    study.fail(study.ask(), "out of memory", "CUDA out of memory")
    study.ask()

    assert (sampler.cost, sampler.running) == (None, {})


def test_what_another_study_measured_starts_nothing_here(tmp_path):
    study, machine = opened(tmp_path), Machine(start=50.0)
    for _ in range(8):
        machine.measure(study, study.ask())
    study.tell(study.ask(), make_run(1.0, session_id="an earlier one", environment={"ready_after": 50.0}))
    study.ask()

    assert tuple(study._study.sampler.running.values()) == machine.running


def plain(cost=None, running=None):
    """Return what the sampler proposes after ten trials of a smooth function."""
    sampler = ConstrainedGPSampler(seed=1)
    sampler.cost, sampler.running = cost, running or {}
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    for at in range(10):
        params = {"x": at / 10, "y": (at * 7 % 10) / 10}
        value = 2 - (params["x"] - 0.3) ** 2 - (params["y"] - 0.6) ** 2
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    return study.ask(space).params


def test_improvement_a_second_decides_where_costs_differ_by_more_than_twice():
    running = {"x": 0.9}

    assert plain(lambda given: 1.0 if given["x"] == 0.9 else 1e9, running)["x"] == 0.9
    assert plain(lambda given: 1.0 if given["x"] > 0.9 else 2.0) == plain()


@pytest.mark.parametrize("factor", [1.0, 3600.0])
def test_the_unit_of_a_cost_does_not_matter(factor):
    assert plain(lambda given: factor * (1 + 9 * given["x"])) == plain(lambda given: 1 + 9 * given["x"])
