"""The `trial` of a test: loads to send, and one report of what came of it."""

from __future__ import annotations

import pytest
from measured import LOAD, make_plan, make_run, make_study

from pytest_msprof import SearchSpace, floats, integers
from pytest_msprof.errors import LoadError, MetricMissing, ServiceError
from pytest_msprof.tuning.plan import Slot
from pytest_msprof.tuning.trial import Trial

SESSION = "the session"


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path, make_plan(subject_to={"ttft.p50": 0.2}), session=SESSION)


def searching(study):
    proposal = study.ask()
    return Trial(proposal.fields, proposal.number, study.name, Slot("trial"), study, SESSION, proposal)


def confirming(study, index=0):
    return Trial({"size": 1}, 0, study.name, Slot("confirm", index, "default"), study, SESSION)


def test_a_measured_trial_is_in_the_study_and_knows_what_it_missed(study):
    fast, slow = searching(study), searching(study)
    fast.tell(make_run(100.0, ttft=0.1))
    slow.tell(make_run(100.0, ttft=0.3))

    assert (fast.told, fast.infeasible) == (True, "")
    assert slow.infeasible == "ttft.p50 0.3 s > 0.2 s"
    assert [record.state for record in study.records()] == ["measured", "infeasible"]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ServiceError("it died", failure="out of memory", log_tail="last"), "out of memory"),
        (LoadError("none"), "client errors"),
    ],
)
def test_a_failed_trial_is_recorded_with_its_class(study, error, failure):
    trial = searching(study)
    trial.fail(error)
    trial.fail(LoadError("again"))

    (record,) = study.records()
    assert (record.failure, record.reason) == (failure, str(error))


def test_a_run_without_the_objective_tells_nothing(study):
    trial = searching(study)

    with pytest.raises(MetricMissing):
        trial.tell(make_run(1.0, metrics={}))

    assert not trial.told
    assert study.records() == ()


def test_a_trial_that_is_given_back_is_proposed_again(study):
    trial = searching(study)
    trial.release()

    assert trial.released
    assert searching(study).number == 0


def test_a_told_trial_cannot_be_given_back(study):
    trial = searching(study)
    trial.tell(make_run(100.0))
    trial.release()

    assert not trial.released
    assert len(study.records()) == 1


def test_a_confirming_launch_counts_once_it_is_told(study):
    first, second, third = (confirming(study, index) for index in range(3))
    for trial in (first, second, third):
        trial.begin()
    assert study.confirmations.of(SESSION) == {}
    run = make_run(100.0, ttft=0.3)
    first.tell(run)
    second.fail(ServiceError("it died", failure="timeout"))
    third.release()

    told, failed = study.confirmations.of(SESSION)["default"]
    assert (told["run"], told["broken"]) == (run.id, "ttft.p50 0.3 s > 0.2 s")
    assert (failed["failure"], failed["reason"]) == ("timeout", "it died")
    assert study.records() == ()


def test_load_side_fields_become_the_load(tmp_path):
    space = SearchSpace(
        integers("CONCURRENCY", 1, 8), floats("RequestRate", 1, 9), default={"CONCURRENCY": 2, "RequestRate": 3.5}
    )
    trial = searching(make_study(tmp_path, make_plan(space)))

    (workload,) = trial.workloads()

    assert (workload.concurrency, workload.request_rate) == (2, 3.5)
    assert workload.with_load(concurrency=1).model_copy(update={"request_rate": None}) == LOAD


def test_without_load_side_fields_the_load_is_the_one_of_the_mark(study):
    assert list(searching(study).workloads()) == [LOAD]
