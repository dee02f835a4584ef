"""A study proposes each configuration once, and remembers what came of it whoever asks."""

from __future__ import annotations

import math
import platform
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from measured import SPACE, make_plan, make_run, make_study

from pytest_msprof import SearchSpace, choice, floats, integers
from pytest_msprof.errors import MetricMissing
from pytest_msprof.ids import new_id
from pytest_msprof.tuning.storage import Journals
from pytest_msprof.tuning.study import Exhausted, Spent

ASKER = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from measured import make_run, make_study
from pytest_msprof.tuning.study import Exhausted
study = make_study(Path(sys.argv[1]), session=sys.argv[3])
try:
    while True:
        proposal = study.ask()
        print(proposal.number, proposal.fields["size"], flush=True)
        if sys.argv[4] == "stay":
            signal.pause()
        study.tell(proposal, make_run(1.0))
except Exhausted:
    pass
"""


def asker(folder: Path, session: str, then: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASKER, str(folder), str(Path(__file__).parent), session, then]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measured(study, throughput=lambda fields: 100.0 * fields.get("size", 1), ttft=lambda _: 0.1):
    """Tell a study everything it asks for; return the proposals."""
    found = []
    try:
        while True:
            proposal = study.ask()
            study.tell(proposal, make_run(throughput(proposal.fields), ttft(proposal.fields)))
            found.append(proposal)
    except Exhausted:
        return found


def test_the_default_comes_first_and_every_other_configuration_once(tmp_path):
    proposals = measured(make_study(tmp_path))

    assert proposals[0].fields == {"size": 1}
    assert [proposal.number for proposal in proposals] == [0, 1, 2, 3]
    assert sorted(proposal.fields["size"] for proposal in proposals) == [1, 2, 4, 8]


def test_a_default_that_leaves_fields_to_the_engine_is_known_by_what_the_engine_takes(tmp_path):
    fields = (choice("seqs", [1, 2, 4]), choice("kernel", ["x", "y"]))
    engine = (choice("seqs", [2]).marked(unset=2), choice("kernel", ["x"]).marked(unset="x"))
    plan = make_plan(SearchSpace(*fields, default={"kernel": "y"}), n_trials=6, search="manual").for_engine(engine)

    study = make_study(tmp_path, plan)
    proposals = measured(study)

    assert proposals[0].fields == {"kernel": "y"}
    assert study.measured()[0].parameters == {"seqs": 2, "kernel": "y"}
    assert len(proposals) == 6
    assert {"seqs": 2, "kernel": "y"} not in [proposal.fields for proposal in proposals]


def test_the_default_is_the_default_whoever_stands_in_the_queue(tmp_path):
    study = make_study(tmp_path)
    shared = optuna.load_study(study_name=study.name, storage=Journals(tmp_path).storage(study.name))
    shared.enqueue_trial({"size": 4})

    first, second = study.ask(), study.ask()

    assert (first.number, first.fields) == (0, {"size": 1})
    assert (second.number, second.fields) == (1, {"size": 4})


def test_a_default_that_leaves_everything_to_the_engine_is_no_point_of_the_space(tmp_path):
    proposals = measured(make_study(tmp_path, make_plan(SearchSpace(choice("size", [1, 2])))))

    assert proposals[0].fields == {}
    assert sorted(proposal.fields["size"] for proposal in proposals[1:]) == [1, 2]


def test_conditions_of_the_space_cost_no_trial(tmp_path):
    space = SearchSpace(integers("size", 1, 4), integers("depth", 1, 4), where=["size * depth == 4"])

    proposals = measured(make_study(tmp_path, make_plan(space)))

    assert sorted((p.fields["size"], p.fields["depth"]) for p in proposals[1:]) == [(1, 4), (2, 2), (4, 1)]


def test_a_proposal_that_was_measured_before_is_answered_from_the_log(tmp_path):
    class Repeating(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, name, distribution):
            return 4 if trial.number < 3 else 8

    study = make_study(tmp_path, make_plan(search=Repeating(), subject_to={"ttft.p50": 0.2}))
    study.tell(study.ask(), make_run(100.0))
    first = study.ask()
    study.tell(first, make_run(400.0, ttft=0.3))
    second = study.ask()

    kept = optuna.load_study(study_name=study.name, storage=Journals(tmp_path).storage(study.name)).trials
    answered = [trial for trial in kept if "same_as" in trial.user_attrs]
    assert (first.fields, second.fields) == ({"size": 4}, {"size": 8})
    assert [trial.user_attrs["same_as"] for trial in answered] == [first.number]
    assert [(trial.state.name, trial.value, trial.params) for trial in answered] == [("COMPLETE", 400.0, {"size": 4})]
    assert answered[0].constraints["ttft.p50"] > 0
    assert len(study.records()) == 2


def test_an_endless_space_is_never_exhausted(tmp_path):
    study = make_study(tmp_path, make_plan(SearchSpace(floats("share", 0.0, 1.0), default={"share": 0.5}), n_trials=5))

    values = [study.ask().fields["share"] for _ in range(5)]

    assert values[0] == 0.5
    assert len(set(values)) == 5
    assert all(0 <= value <= 1 for value in values)


def test_who_saw_room_for_a_trial_that_another_took_gets_none(tmp_path):
    first, second = (make_study(tmp_path, make_plan(n_trials=2), session=new_id()) for _ in range(2))
    first.ask()
    assert not second.is_spent()

    first.ask()

    with pytest.raises(Spent, match="others measured the rest of 2 trials"):
        second.ask()


def test_the_same_seed_proposes_the_same(tmp_path):
    one, other = (measured(make_study(tmp_path / name, make_plan(seed=3))) for name in "ab")

    assert [proposal.fields for proposal in one] == [proposal.fields for proposal in other]


def test_what_became_of_a_trial_is_remembered(tmp_path):
    study = make_study(tmp_path, make_plan(subject_to={"ttft.p50": 0.2}))
    fast, slow, crashed = study.ask(), study.ask(), study.ask()
    study.tell(fast, make_run(100.0, ttft=0.1))
    study.tell(slow, make_run(200.0, ttft=0.3))
    study.fail(crashed, "out of memory", "it wanted 20 GiB", "last words")

    good, infeasible, failed = study.records()

    assert (good.state, good.value, good.metrics) == ("measured", 100.0, {"output_throughput": 100.0, "ttft.p50": 0.1})
    assert (infeasible.state, infeasible.value) == ("infeasible", 200.0)
    assert (failed.state, failed.value, failed.failure) == ("failed", None, "out of memory")
    assert (failed.reason, failed.log_tail) == ("it wanted 20 GiB", "last words")
    assert study.ranking() == {"winner": 0, "default": 0}
    assert study.to_confirm() == {"default": 0}


def test_a_study_whose_first_trials_fail_goes_on(tmp_path):
    study = make_study(tmp_path)
    for _ in range(2):
        study.fail(study.ask(), "does not start", "no")

    third = study.ask()
    study.tell(third, make_run(1.0))

    assert [record.state for record in study.records()] == ["failed", "failed", "measured"]


def test_a_second_report_of_one_trial_is_ignored(tmp_path):
    study = make_study(tmp_path)
    proposal = study.ask()
    study.tell(proposal, make_run(1.0))

    study.tell(proposal, make_run(2.0))
    study.fail(proposal, "timeout", "too late")
    study.release(proposal)

    assert [record.value for record in study.records()] == [1.0]


@pytest.mark.parametrize("ttft", [math.nan, math.inf])
def test_what_is_no_number_is_refused_before_the_study_hears_of_it(tmp_path, ttft):
    study = make_study(tmp_path, make_plan(objective="ttft.p50"))
    proposal = study.ask()

    with pytest.raises(MetricMissing):
        study.tell(proposal, make_run(1.0, ttft=ttft))

    assert not proposal.told
    assert study.records() == ()


def test_the_best_two_are_confirmed_beside_the_default(tmp_path):
    study = make_study(tmp_path)
    proposals = measured(study)
    by_size = {proposal.fields["size"]: proposal.number for proposal in proposals}

    assert study.ranking() == study.to_confirm() == {"winner": by_size[8], "runner-up": by_size[4], "default": 0}


def test_less_is_better_where_the_metric_says_so(tmp_path):
    study = make_study(tmp_path, make_plan(objective="ttft.p50"))
    proposals = measured(study, ttft=lambda fields: 1 / fields["size"])

    assert proposals[study.ranking()["winner"]].fields == {"size": 8}


def test_confirmations_count_for_the_session_that_made_them(tmp_path):
    study = make_study(tmp_path, session=(session := new_id()))
    study.confirmations.remember(session, "winner", 1, {"number": 2, "run": "b"})
    study.confirmations.remember(session, "winner", 0, {"number": 2, "run": "a"})
    study.confirmations.remember(session, "default", 0, {"number": 0, "failure": "timeout", "reason": "too slow"})
    study.confirmations.remember(session, "runner-up", 0, {"number": 1, "lease": {}})

    assert [entry["run"] for entry in study.confirmations.of(session)["winner"]] == ["a", "b"]
    assert study.confirmations.of(session).keys() == {"winner", "default"}
    assert study.confirmations.of(new_id()) == {}


ROLES = {"winner": 2, "default": 0}


def confirmed(study, session: str, *, by: object = None, numbers: dict[str, int] = ROLES) -> None:
    """Let a session have confirmed the trials once each."""
    for role, number in numbers.items():
        study.confirmations.remember(session, role, 0, {"number": number, "run": "x", "by": by})


def test_a_confirmation_that_ended_in_the_middle_is_unfinished(tmp_path):
    study = make_study(tmp_path, session=(session := new_id()))
    assert study.confirmations.unfinished(ROLES, 2, bool) == ""
    confirmed(study, session)

    assert study.confirmations.unfinished(ROLES, 2, bool) == session
    assert study.confirmations.told(session, "winner", 0)["run"] == "x"
    assert study.confirmations.told(session, "winner", 1) == {}


@pytest.mark.parametrize(
    ("launches", "wanted", "by"),
    [(1, ROLES, None), (2, {"winner": 3, "default": 0}, None), (2, {"default": 0}, None), (2, ROLES, {"pid": 1})],
    ids=["whole", "another winner", "no winner", "its process lives"],
)
def test_a_confirmation_is_not_gone_on_with_that_is_whole_or_of_others_or_alive(tmp_path, launches, wanted, by):
    study = make_study(tmp_path, session=(session := new_id()))
    confirmed(study, session, by=by)

    assert study.confirmations.unfinished(wanted, launches, bool) == ""


def test_workers_of_a_session_go_on_with_the_same_confirmation(tmp_path):
    measured(study := make_study(tmp_path, session=(earlier := new_id())))
    confirmed(study, earlier, numbers=study.to_confirm())
    session = new_id()
    first, second = (make_study(tmp_path, session=session, worker=number) for number in range(2))

    assert first.go_on_confirming() == earlier
    for role, number in first.to_confirm().items():
        for index in range(1, 4):
            first.confirmations.remember(earlier, role, index, {"number": number, "run": "y"})

    assert second.go_on_confirming() == second.confirming() == earlier
    assert make_study(tmp_path, session=(later := new_id())).go_on_confirming() == later


def took(study, seconds: float) -> None:
    """Let a study measure a trial that took so long."""
    proposal = study.ask()
    proposal.asked_at -= seconds
    study.tell(proposal, make_run(1.0))


def test_what_earlier_sessions_measured_counts_as_searched_as_long_as_its_busiest_worker_took(tmp_path):
    session, hour = new_id(), 3600.0
    took(make_study(tmp_path, session=session), hour)
    took(make_study(tmp_path, session=session, worker=1), 2 * hour)
    took(make_study(tmp_path), 3 * hour)

    later = make_study(tmp_path)

    assert round(later.searched() / hour) == 2 + 3


def test_a_worker_that_takes_the_place_of_a_dead_one_has_no_more_time_than_that_had(tmp_path):
    session, hour = new_id(), 3600.0
    first = make_study(tmp_path, session=session)
    took(first, hour)

    assert round(make_study(tmp_path, session=session, worker=2).searched() / hour) == 1
    assert round(first.searched() / hour) == 1


def test_a_later_session_goes_on_where_the_first_one_stopped(tmp_path):
    first = make_study(tmp_path)
    for _ in range(2):
        proposal = first.ask()
        first.tell(proposal, make_run(1.0))
    first.ask()
    first.release(first.ask())

    second = make_study(tmp_path)

    assert first.answered == 0
    assert second.answered == 2
    third = second.ask()
    assert third.number not in [record.number for record in second.records()]
    second.tell(third, make_run(1.0))
    assert len({record.fields["size"] for record in second.records()}) == 3


def test_a_trial_of_a_process_that_died_is_free_again(tmp_path):
    with asker(tmp_path, new_id(), "stay") as other:
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)

    study = make_study(tmp_path)

    assert not study.is_busy()
    assert study.ask().number == 0


def test_what_a_process_that_died_left_behind_is_proposed_first_under_its_number(tmp_path):
    plan = make_plan(SearchSpace(integers("size", 1, 64), default={"size": 1}))
    study = make_study(tmp_path, plan)
    study.tell(study.ask(), make_run(1.0))
    left = study.ask()
    left.trial.set_user_attr("lease", {"host": platform.node(), "pid": 2**22 + 1, "started": 0.0})

    other = make_study(tmp_path, plan)
    again = other.ask()

    assert (again.number, again.fields) == (left.number, left.fields)
    study.tell(left, make_run(2.0))  # it was not dead after all, but others could not know
    assert len(study.records()) == 1
    other.tell(again, make_run(3.0))
    assert [record.value for record in study.records()] == [1.0, 3.0]


def test_a_configuration_that_ended_three_processes_is_left_alone(tmp_path):
    plan = make_plan(SearchSpace(integers("size", 1, 64), default={"size": 1}))
    study = make_study(tmp_path, plan)
    study.tell(study.ask(), make_run(1.0))
    seen = []
    for _ in range(4):
        seen.append(study.ask())
        seen[-1].trial.set_user_attr("lease", {"host": platform.node(), "pid": 2**22 + 1, "started": 0.0})

    assert [proposal.number for proposal in seen] == [1, 1, 1, 2]
    assert seen[3].fields != seen[2].fields


def test_a_trial_that_was_told_before_its_process_died_counts(tmp_path):
    study = make_study(tmp_path)
    proposal = study.ask()
    proposal.trial.set_user_attr("facts", {"metrics": {"output_throughput": 5.0}, "missed": [], "value": 5.0})
    proposal.trial.set_user_attr("lease", {})

    (record,) = make_study(tmp_path).records()

    assert (record.number, record.state, record.value) == (0, "measured", 5.0)


def test_what_was_given_back_with_its_session_is_the_next_to_be_proposed(tmp_path):
    study = make_study(tmp_path, make_plan(SearchSpace(integers("size", 1, 64), default={"size": 1})))
    study.tell(study.ask(), make_run(1.0))
    stopped = study.ask()
    study.release(stopped, again=True)

    again = study.ask()

    assert (again.number, again.fields) == (stopped.number, stopped.fields)


def test_a_trial_of_a_process_that_lives_is_left_to_it(tmp_path):
    with asker(tmp_path, new_id(), "stay") as other:
        other.stdout.readline()
        study = make_study(tmp_path)

        assert study.is_busy()
        assert len(measured(study)) == 3
        other.kill()

    assert not study.is_busy()


def test_a_trial_is_lost_to_its_session_once_its_process_died_with_it(tmp_path):
    session = new_id()
    with asker(tmp_path, session, "stay") as other:
        other.stdout.readline()
        study = make_study(tmp_path, session=session)
        assert study.lost() == 0
        other.kill()

    assert study.lost() == 1
    assert len(measured(study)) == 4
    assert study.lost() == 1
    assert make_study(tmp_path, session=new_id()).lost() == 0


def test_two_processes_share_a_study_without_measuring_anything_twice(tmp_path):
    session = new_id()
    with asker(tmp_path, session, "go on") as one, asker(tmp_path, session, "go on") as other:
        lines = [line.split() for process in (one, other) for line in process.communicate()[0].splitlines()]

    assert sorted(int(number) for number, _ in lines) == [0, 1, 2, 3]
    assert sorted(int(size) for _, size in lines) == [1, 2, 4, 8]
    assert SPACE.size() == 4


def test_what_only_other_configurations_have_is_tried_although_the_default_lacks_it(tmp_path):
    space = SearchSpace(
        choice("batching", [False, True]),
        integers("blocks", 8, 128, when="batching"),
        integers("clients", 1, 64),
        default={"batching": False, "clients": 4},
        where=["blocks >= 16"],
    )
    study = make_study(tmp_path, make_plan(space, search="auto", n_trials=12))

    tried = [proposal.fields["batching"] for proposal in (_told(study) for _ in range(4))]

    assert True in tried


def _told(study):
    proposal = study.ask()
    study.tell(proposal, make_run(1.0 + proposal.fields["clients"]))
    return proposal


def test_conditions_are_known_before_the_model_chooses(tmp_path):
    space = SearchSpace(integers("size", 1, 64), integers("depth", 1, 64), where=["size * depth <= 64"])
    study = make_study(tmp_path, make_plan(space, search="auto", n_trials=14))
    for _ in range(14):
        proposal = study.ask()
        study.tell(proposal, make_run(1.0 + proposal.fields.get("size", 1) * proposal.fields.get("depth", 1)))

    stored = optuna.load_study(study_name=study.name, storage=Journals(tmp_path).storage(study.name))
    refused = [trial for trial in stored.trials[3:] if "refused" in trial.user_attrs]
    assert refused == []
