"""A tune mark is checked before anything starts, and its items are known."""

from __future__ import annotations

import math

import pytest
from measured import LOAD, SPACE, make_plan, make_run

from pytest_msprof import Distribution, Workload
from pytest_msprof.errors import ConfigurationError, InvalidSpace, MetricMissing, UnknownName
from pytest_msprof.tuning.plan import Slot, TunePlan


def test_the_items_are_trials_then_confirmations_in_turns_then_the_result():
    ids = [slot.id for slot in make_plan(n_trials=2, confirm=2).slots()]

    assert ids == [
        "trial-0",
        "trial-1",
        "confirm-winner-0",
        "confirm-runner-up-0",
        "confirm-default-0",
        "confirm-winner-1",
        "confirm-runner-up-1",
        "confirm-default-1",
        "result",
    ]


@pytest.mark.parametrize(
    ("model", "limits"),
    [
        ("/models/small", {"ttft.p50": 0.1, "tpot.p50": 0.05}),
        ("org/small", {"ttft.p50": 0.1, "tpot.p50": 0.05}),
        ("large", {"ttft.p50": 0.5, "tpot.p50": 0.05, "success_rate": 0.9}),
        ("", {"ttft.p50": 0.5, "tpot.p50": 0.05}),
    ],
)
def test_limits_of_a_model_count_before_those_of_every_other(model, limits):
    given = {"ttft.p50": {"small": 0.1, "*": 0.5}, "tpot.p50": 0.05, "success_rate": {"large": 0.9}}

    plan = make_plan(subject_to=given).for_model(model)

    assert plan.subject_to == limits
    assert plan.digest() == make_plan(subject_to=limits).digest()


def test_a_limit_of_a_model_is_checked_like_any_other():
    with pytest.raises(ConfigurationError, match=r"a limit above 0 for 'ttft.p50'"):
        make_plan(subject_to={"ttft.p50": {"small": -1}})
    plan = make_plan(load="max_under_slo", subject_to={"ttft.p50": {"small": 0.1}})
    with pytest.raises(ConfigurationError, match="needs a limit that a heavier load can break"):
        plan.for_model("large")


@pytest.mark.parametrize("goal", [{"objective": "goodput"}, {"objective": None, "objectives": ["tpot.p50", "goodput"]}])
def test_a_run_without_an_objective_has_no_value_instead_of_zero(goal):
    plan = make_plan(workload=LOAD.model_copy(update={"goodput": {"ttft": 0.5}}), **goal)

    with pytest.raises(MetricMissing, match="this run has no metric 'goodput'"):
        plan.measure(make_run(1.0))


def test_a_study_without_confirmation_has_none():
    assert make_plan(n_trials=1, confirm=0).slots() == (Slot("trial", 0), Slot("result"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_trials": True}, "n_trials as a whole number from 1, but got True"),
        ({"n_trials": 2.0}, "n_trials as a whole number"),
        ({"confirm": -1}, "confirm as a whole number from 0"),
        ({"minutes": 0}, "minutes above 0, but got 0"),
        ({"workload": {"concurrency": 1}}, "needs a Workload as workload, but got dict"),
        ({"subject_to": {"ttft.p50": 0}}, "a limit above 0 for 'ttft.p50', but got 0"),
        ({"subject_to": {"ttft.p50": math.inf}}, "a limit above 0 for 'ttft.p50', but got inf"),
        ({"objective": "ttft"}, "'ttft' is a distribution"),
        ({"objective": "success_rate.p50"}, "'success_rate' is a single figure"),
    ],
)
def test_what_could_only_fail_later_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_plan(**changes)


@pytest.mark.parametrize(
    ("changes", "near"),
    [({"objective": "output_troughput"}, "output_throughput"), ({"subject_to": {"tfft.p50": 1}}, "ttft")],
)
def test_an_unknown_metric_is_refused_with_the_nearest(changes, near):
    with pytest.raises(UnknownName, match=f"did you mean '{near}'"):
        make_plan(**changes)


def test_the_arguments_of_the_mark_are_checked():
    with pytest.raises(InvalidSpace, match="one SearchSpace as its first argument, but got nothing"):
        TunePlan.of(workload=LOAD, objective="output_throughput", n_trials=1)
    with pytest.raises(UnknownName, match=r"unknown argument of tune 'trials'.*did you mean 'n_trials'"):
        TunePlan.of(SPACE, workload=LOAD, objective="output_throughput", trials=1)
    with pytest.raises(ConfigurationError, match="tune needs n_trials, workload"):
        TunePlan.of(SPACE, objective="output_throughput")


def test_constraints_are_met_from_the_better_side():
    plan = make_plan(subject_to={"ttft.p50": 0.2, "success_rate": 0.9})

    assert plan.infeasible({"ttft.p50": 0.2, "success_rate": 0.9}) == ""
    assert plan.infeasible({"ttft.p50": 0.25, "success_rate": 1.0}) == "ttft.p50 0.25 s > 0.2 s"
    assert plan.infeasible({"ttft.p50": 0.1, "success_rate": 0.5}) == "success_rate 0.5 < 0.9"
    assert plan.violations({"ttft.p50": 0.3, "success_rate": 0.45}) == pytest.approx(
        {"ttft.p50": 0.5, "success_rate": 0.5}
    )


def test_the_direction_follows_from_the_metric():
    assert make_plan().maximize
    assert not make_plan(objective="ttft.p50").maximize


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_refused(value):
    with pytest.raises(MetricMissing, match="which no study can learn from"):
        make_plan(objective="ttft.p50").measure(make_run(1.0, ttft=value))


def test_objectives_of_an_open_loop_count_from_when_requests_were_due():
    waited = {"ttft": Distribution({"n": 8, "p50": 0.1}), "ttft_due": Distribution({"n": 8, "p50": 0.7})}
    plan = make_plan(subject_to={"ttft.p50": 0.5})
    found = plan.measure(make_run(1.0, distributions=waited))
    assert found == {"output_throughput": 1.0, "ttft.p50": 0.7}
    assert plan.infeasible(found)


def test_goodput_is_an_objective_where_the_workload_says_what_is_good():
    plan = make_plan(workload=Workload(goodput={"ttft": 0.5}), objective="goodput")
    assert plan.maximize
    assert plan.measure(make_run(1.0, metrics={"goodput": 3.0})) == {"goodput": 3.0}


def test_a_metric_that_the_run_lacks_is_refused():
    with pytest.raises(MetricMissing, match="this run has no metric 'queue'"):
        make_plan(objective="queue.p50").measure(make_run(1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "goodput"}, "goodput needs to know what a good request is"),
        ({"subject_to": {"ttft.p99": 1.0}}, r"ttft.p99 needs 100 requests, but the workload sends"),
        ({"subject_to": [("ttft.p50", 1.0)]}, "subject_to as"),
        ({"minutes": "3"}, "minutes above 0, but got '3'"),
    ],
)
def test_what_no_run_of_the_workload_can_have_is_refused_before_a_start(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_plan(**changes)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"subject_to": {"ttft.p50": 1}}, {"workload": LOAD.with_load(concurrency=2)}]
)
def test_another_question_has_another_digest(changes):
    assert make_plan(**changes).digest() != make_plan().digest()


def test_more_trials_and_confirmations_are_the_same_question():
    assert make_plan(n_trials=9, confirm=1, minutes=5).digest() == make_plan().digest()


def test_the_price_of_an_hour_makes_the_cost_of_a_million_tokens():
    plan = make_plan(objective="cost", price_per_hour=3.6)

    assert plan.measure(make_run(100.0)) == {"cost": pytest.approx(10.0)}
    assert not plan.maximize
    assert plan.scored(make_run(100.0)).value("cost") == pytest.approx(10.0)
    assert plan.digest() != make_plan(objective="cost", price_per_hour=7.2).digest()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "cost"}, r"cost needs to know what an hour costs: tune\(price_per_hour=2.5\)"),
        ({"price_per_hour": 0}, "needs price_per_hour above 0, but got 0"),
        ({"price_per_hour": float("inf")}, "needs price_per_hour above 0, but got inf"),
    ],
)
def test_a_cost_needs_a_price(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        make_plan(**arguments)


def test_a_run_without_tokens_has_no_cost():
    with pytest.raises(MetricMissing, match="no metric 'cost'"):
        make_plan(objective="cost", price_per_hour=3.6).measure(make_run(0.0))
