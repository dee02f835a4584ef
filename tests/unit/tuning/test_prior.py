"""A study that takes the place of another one begins with what that one found best."""

from __future__ import annotations

from measured import IDENTITY, make_plan, make_run

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.ids import new_id
from pytest_msprof.tuning.opening import open_study
from pytest_msprof.tuning.prior import best_of, fitted
from pytest_msprof.tuning.storage import Journals

WIDER = SearchSpace(integers("size", 1, 512), default={"size": 1})


def opened(folder, plan, **options):
    return open_study(Journals(folder), IDENTITY, plan, session_id=new_id(), **options)[0]


def first(folder, **plan):
    """Measure the four sizes: the two middle ones are best, 8 fails."""
    study = opened(folder, make_plan(subject_to={"ttft.p50": 0.2}, **plan))
    throughputs = {1: 10.0, 2: 20.0, 4: 40.0}
    for _ in range(4):
        proposal = study.ask()
        size = proposal.fields["size"]
        if size == 8:
            study.fail(proposal, "timeout", "too slow")
        else:
            study.tell(proposal, make_run(throughputs[size]))
    return study


def test_the_best_configurations_come_after_the_default(tmp_path):
    first(tmp_path)

    study = opened(tmp_path, make_plan(WIDER))

    assert [study.ask().fields["size"] for _ in range(3)] == [1, 4, 2]
    assert study.ask().fields["size"] not in (1, 2, 4)


def test_guesses_are_made_once_however_often_the_study_is_resumed(tmp_path):
    first(tmp_path)
    study = opened(tmp_path, make_plan(WIDER))
    for _ in range(2):
        study.tell(study.ask(), make_run(1.0))
    assert study.records()[1].fields == {"size": 4}

    resumed = opened(tmp_path, make_plan(WIDER))

    assert resumed.ask().fields == {"size": 2}
    assert resumed.ask().fields["size"] not in (1, 2, 4)


def test_starting_over_begins_without_guesses(tmp_path):
    first(tmp_path)

    study = opened(tmp_path, make_plan(WIDER), fresh=True)

    assert "prior" not in study.attributes


def test_what_failed_or_missed_a_limit_is_no_guess(tmp_path):
    study = first(tmp_path)
    slow = opened(tmp_path / "slow", make_plan(subject_to={"ttft.p50": 0.2}))
    slow.tell(slow.ask(), make_run(99.0, ttft=0.5))

    assert best_of(study._storage, study.name) == [{"size": 4}, {"size": 2}]
    assert best_of(slow._storage, slow.name) == []


def test_less_is_better_where_the_earlier_study_minimized(tmp_path):
    study = opened(tmp_path, make_plan(objective="ttft.p50"))
    for _ in range(4):
        proposal = study.ask()
        study.tell(proposal, make_run(1.0, ttft=1 / proposal.fields["size"]))

    assert best_of(study._storage, study.name) == [{"size": 8}, {"size": 4}]


def test_only_what_is_a_configuration_of_the_new_space_fits():
    space = SearchSpace(choice("size", [2, 4]), choice("mode", ["a", "b"]), where=["size == 2 or mode == 'a'"])

    assert fitted(space, {"size": 4, "mode": "a"}) == {"size": 4, "mode": "a"}
    assert fitted(space, {"size": 8, "mode": "a"}) is None
    assert fitted(space, {"size": 4}) is None
    assert fitted(space, {"size": 4, "mode": "b"}) is None
    assert fitted(space, {"size": 4, "mode": "a", "gone": 1}) is None
