"""The loads of a trial react to what was told, and the right one stands for it."""

from __future__ import annotations

import pytest
from measured import make_plan, make_run, make_study
from test_trial import SESSION, searching

from pytest_msprof import SearchSpace, Workload, integers
from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.tuning.loads import Axis
from pytest_msprof.tuning.plan import Slot
from pytest_msprof.tuning.stopping import reason_to_stop
from pytest_msprof.tuning.trial import Trial

LIMIT = {"ttft.p50": 0.2}


def served(workload, *, most=40):
    """A service with room for *most* requests at once: throughput grows up to there, and waiting with the load."""
    load = workload.concurrency
    return make_run(
        10.0 * min(load, most),
        ttft=0.18 * load / most,
        workload=workload,
        metrics={"output_throughput": 10.0 * min(load, most), "request_throughput": 1.0 * min(load, most)},
    )


def measured(trial, **service):
    """Send every load of *trial*; return the concurrencies."""
    sent = []
    for workload in trial.workloads():
        sent.append(workload.concurrency)
        trial.tell(served(workload, **service))
    return sent


@pytest.fixture
def plan():
    return make_plan(load="max_under_slo", subject_to=LIMIT, workload=Workload(concurrency=4, num_requests=8))


def test_the_largest_load_under_the_limits_is_found_inside_one_trial(tmp_path, plan):
    study = make_study(tmp_path, plan, session=SESSION)
    trial = searching(study)
    sent = measured(trial)

    (record,) = study.records()
    assert sent[0] == 4
    assert 36 <= record.load <= 40
    assert (record.value, trial.infeasible) == (10 * record.load, "")
    assert [point.load for point in record.loads] == sent
    assert len(record.run_ids) == len(sent) <= 7


def test_the_next_trial_starts_at_the_best_load_known_and_a_confirmation_stays_there(tmp_path, plan):
    study = make_study(tmp_path, plan, session=SESSION)
    measured(searching(study))
    (record,) = study.records()

    assert measured(searching(study), most=20)[0] == record.load
    confirming = Trial(record.fields, 0, study.name, Slot("confirm", 0, "default"), study, SESSION)
    assert measured(confirming) == [record.load]


def test_a_service_that_bears_nothing_is_infeasible_at_its_lightest_load(tmp_path, plan):
    study = make_study(tmp_path, plan, session=SESSION)
    trial = searching(study)

    assert measured(trial, most=0.5)[-1] == 1
    assert trial.infeasible == "ttft.p50 0.36 s > 0.2 s"
    assert study.records()[0].state == "infeasible"


def test_what_held_before_the_service_gave_up_counts(tmp_path, plan):
    study = make_study(tmp_path, plan, session=SESSION)
    trial = searching(study)
    loads = trial.workloads()
    trial.tell(served(next(loads)))
    next(loads)
    trial.fail(LoadError("no answer"))

    assert trial.measured
    assert study.records()[0].load == 4


def test_a_body_that_stops_early_concludes_with_what_it_told(tmp_path, plan):
    study = make_study(tmp_path, plan, session=SESSION)
    trial = searching(study)
    trial.tell(served(next(trial.workloads())))
    assert not trial.told
    trial.conclude()

    assert (trial.told, study.records()[0].load) == (True, 4)


def test_a_sweep_ends_behind_the_first_load_that_misses_and_looks_between(tmp_path):
    plan = make_plan(load="sweep", subject_to=LIMIT, workload=Workload(concurrency=1))
    study = make_study(tmp_path, plan, session=SESSION)

    assert measured(searching(study)) == [1, 2, 4, 8, 16, 32, 64, 45]
    assert study.records()[0].load == 32


def test_a_sweep_without_limits_ends_where_the_throughput_stands_still(tmp_path):
    study = make_study(tmp_path, make_plan(load="sweep", workload=Workload(concurrency=8)), session=SESSION)

    assert measured(searching(study), most=20) == [8, 16, 32, 64]
    assert study.records()[0].value == 200


def test_a_heavier_load_gets_the_requests_that_fill_it():
    closed, opened = (
        Axis.of(Workload(concurrency=4, num_requests=48)),
        Axis.of(Workload(request_rate=2.0, num_requests=48)),
    )

    assert [closed.at(load).num_requests for load in (2, 8, 100)] == [48, 48, 300]
    assert [opened.at(load).num_requests for load in (1.0, 2.0, 8.0)] == [48, 48, 192]
    assert Axis.of(Workload(concurrency=4, duration=5.0)).at(64).num_requests is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"load": "max_under_slo", "subject_to": {}}, "needs a limit that a heavier load can break"),
        ({"load": "max_under_slo", "subject_to": {"energy": 3.0}}, "needs a limit that a heavier load can break"),
        ({"load": "sweep", "workload": Workload(arrival="burst")}, "must not have stages, a burst or times"),
        ({"load": "sweep", "space": SearchSpace(integers("CONCURRENCY", 1, 8))}, "must not have 'CONCURRENCY'"),
    ],
)
def test_a_load_that_is_given_cannot_be_found(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_plan(**{"subject_to": LIMIT, **changes})


def test_limits_are_a_tenth_stricter_while_searching(plan):
    metrics = {"output_throughput": 1.0, "ttft.p50": 0.19}

    assert plan.infeasible(metrics) == ""
    assert plan.strain(metrics) == pytest.approx(0.19 / 0.18)
    assert plan.tightened(metrics)["ttft.p50"] > 0


def test_a_share_of_requests_strains_by_what_is_missing():
    plan = make_plan(subject_to={"success_rate": 0.99})

    assert plan.strain({"success_rate": 1.0}) == 0
    assert plan.strain({"success_rate": 0.98}) == pytest.approx(2.0)


def test_a_search_that_promises_nothing_any_more_ends_and_says_so(tmp_path):
    study = make_study(tmp_path)
    study.tell(study.ask(), make_run(1.0))
    records = study.records()

    assert reason_to_stop(records, [None, *[0.009] * 9]) == ""
    assert "expected improvement stayed below 1 % for 10 suggestions" in reason_to_stop(records, [0.5, *[0.009] * 10])


def test_a_study_gives_up_after_ten_trials_that_all_failed(tmp_path):
    study = make_study(tmp_path, make_plan(SearchSpace(integers("size", 1, 99)), n_trials=20))
    for _ in range(9):
        study.fail(study.ask(), "out of memory", "no")
        assert study.stopped() == ""
    study.fail(study.ask(), "timeout", "no")

    assert study.stopped() == "the first 10 trials all failed: 9 × out of memory, 1 × timeout"
