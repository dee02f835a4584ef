"""A study that takes the place of another one begins with that one's model, not with its winners."""

from __future__ import annotations

import optuna
import pytest
from measured import IDENTITY, make_plan, make_run

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.ids import new_id
from pytest_msprof.tuning import ConstrainedGPSampler
from pytest_msprof.tuning.opening import open_study
from pytest_msprof.tuning.prior import Earlier, earlier_trials, trials_of_study
from pytest_msprof.tuning.storage import Journals

WIDER = SearchSpace(integers("size", 1, 512), default={"size": 1})


def opened(folder, plan, **options):
    return open_study(Journals(folder), IDENTITY, plan, session_id=new_id(), **options)[0]


def first(folder, failure="out of memory", **plan):
    """Measure the four sizes: 8 fails."""
    study = opened(folder, make_plan(**plan))
    throughputs = {1: 10.0, 2: 20.0, 4: 40.0}
    for _ in range(4):
        proposal = study.ask()
        size = proposal.fields["size"]
        if size == 8:
            study.fail(proposal, failure, "too large")
        else:
            study.tell(proposal, make_run(throughputs[size], ttft=0.1 * size))
    return study


def told(study):
    entries = trials_of_study(study._storage, study.name)
    return {entry["fields"]["size"]: entry["metrics"] and entry["metrics"]["output_throughput"] for entry in entries}


def test_every_trial_is_handed_on_with_its_metrics_and_crashes_too(tmp_path):
    assert told(first(tmp_path)) == {1: 10.0, 2: 20.0, 4: 40.0, 8: None}


def test_what_a_clock_ended_is_not_handed_on(tmp_path):
    assert set(told(first(tmp_path, failure="timeout"))) == {1, 2, 4}


def test_the_new_study_keeps_what_the_old_one_measured_and_replays_none_of_it(tmp_path):
    first(tmp_path)

    study = opened(tmp_path, make_plan(WIDER))

    assert {entry["fields"]["size"] for entry in study.attributes["prior"]} == {1, 2, 4, 8}
    assert study.ask().fields == {"size": 1}
    assert study.ask().fields["size"] not in (1, 2, 4, 8)


def test_starting_over_begins_with_nothing(tmp_path):
    first(tmp_path)

    study = opened(tmp_path, make_plan(WIDER), fresh=True)

    assert "prior" not in study.attributes


def test_earlier_trials_are_judged_by_the_new_limits(tmp_path):
    study = first(tmp_path, subject_to={"ttft.p50": 9.0})
    plan = make_plan(WIDER, subject_to={"ttft.p50": 0.2})
    found = earlier_trials(plan, trials_of_study(study._storage, study.name))

    assert {trial.parameters["size"]: trial.value for trial in found} == {1: 10.0, 2: 20.0, 4: 40.0, 8: None}
    assert [trial.excess["ttft.p50"] for trial in found if trial.value == 40.0] == [pytest.approx(1.0)]


def test_what_is_no_configuration_of_the_new_space_or_lacks_its_metrics_is_left_out():
    space = SearchSpace(choice("size", [2, 4]), choice("mode", ["a", "b"]), where=["size == 2 or mode == 'a'"])
    plan = make_plan(space, objective="output_throughput")
    entries = [
        {"fields": {"size": 4, "mode": "a"}, "metrics": {"output_throughput": 1.0}},
        {"fields": {"size": 8, "mode": "a"}, "metrics": {"output_throughput": 1.0}},
        {"fields": {"size": 4, "mode": "b"}, "metrics": {"output_throughput": 1.0}},
        {"fields": {"size": 2, "mode": "b"}, "metrics": {"ttft.p50": 1.0}},
        {"fields": {"size": 4, "mode": "a", "gone": 1}, "metrics": None},
    ]
    assert earlier_trials(plan, entries) == [Earlier({"size": 4, "mode": "a"}, 1.0, {})]


def test_another_objective_finds_what_the_runs_of_the_old_study_had(tmp_path):
    study = first(tmp_path)
    plan = make_plan(WIDER, objective="tpot.p50", subject_to={"ttft.p50": 0.2})

    found = earlier_trials(plan, trials_of_study(study._storage, study.name))

    assert {trial.parameters["size"]: trial.value for trial in found} == {1: 0.01, 2: 0.01, 4: 0.01, 8: None}
    assert [trial.excess["ttft.p50"] <= 0 for trial in found if trial.value] == [True, True, False]


def test_what_is_handed_on_has_a_bound(tmp_path):
    study = opened(tmp_path, make_plan(n_trials=1))
    many = {f"extra{number}": 1.0 for number in range(1000)}
    study.tell(study.ask(), make_run(10.0, metrics={"output_throughput": 10.0, **many}))

    (entry,) = trials_of_study(study._storage, study.name)

    assert len(entry["metrics"]) <= 130


def test_other_weights_make_another_score_of_the_same_figures():
    entry = {"fields": {"size": 4}, "metrics": {"output_throughput": 100.0, "ttft.p50": 0.2, "score": 22.4}}
    plan = make_plan(objective=None, objectives={"output_throughput": 9, "ttft.p50": 1})

    (found,) = earlier_trials(plan, [entry])

    assert found.value == pytest.approx((100.0**9 * 5.0) ** 0.1)


def test_another_price_makes_another_cost_of_the_same_figures():
    entry = {"fields": {"size": 4}, "metrics": {"output_throughput": 100.0, "cost": 1.0}}

    (found,) = earlier_trials(make_plan(objective="cost", price_per_hour=3.6), [entry])

    assert found.value == pytest.approx(10.0)


def throughput(params, best):
    return 100 - 60 * abs(params["x"] - best) - (30 if params["kind"] != "b" else 0) - 20 * (params["y"] - 0.8) ** 2


def test_what_an_earlier_default_left_to_the_engine_stands_where_the_engine_takes_it():
    space = SearchSpace(integers("size", 1, 512).marked(unset=16))

    (found,) = earlier_trials(make_plan(space), [{"fields": {}, "metrics": {"output_throughput": 1.0}}])

    assert found.parameters == {"size": 16}


def test_a_model_of_another_workload_leads_to_the_best_in_a_few_trials():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {
        "x": optuna.distributions.FloatDistribution(0, 1),
        "y": optuna.distributions.FloatDistribution(0, 1),
        "kind": optuna.distributions.CategoricalDistribution(["a", "b", "c", "d"]),
    }
    old = optuna.create_study(direction="maximize", sampler=ConstrainedGPSampler(seed=1))
    for _ in range(20):
        trial = old.ask(space)
        old.tell(trial, throughput(trial.params, 0.4))
    sampler = ConstrainedGPSampler(seed=2)
    sampler.earlier = [Earlier(trial.params, trial.value, {}) for trial in old.trials]
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({"x": 0.9, "y": 0.1, "kind": "a"})
    for _ in range(5):
        trial = study.ask(space)
        study.tell(trial, 3 * throughput(trial.params, 0.5))

    assert study.best_value > 0.93 * 300
