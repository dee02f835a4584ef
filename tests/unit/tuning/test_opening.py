"""The same question resumes its study; another one starts anew and says what changed."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from measured import IDENTITY, make_plan, make_run

from pytest_msprof import SearchSpace, choice
from pytest_msprof.errors import ConfigurationError, SchemaTooNew
from pytest_msprof.ids import new_id
from pytest_msprof.tuning.database import Database
from pytest_msprof.tuning.finished import studies
from pytest_msprof.tuning.opening import open_study
from pytest_msprof.tuning.storage import Journals

OTHER = make_plan(SearchSpace(choice("size", [1, 3])))


def opened(shelf, plan=None, identity=IDENTITY, session="", **options):
    return open_study(shelf, identity, plan or make_plan(), session_id=session or new_id(), **options)


@pytest.fixture(params=["journals", "database"])
def shelf(request, tmp_path):
    return Journals(tmp_path) if request.param == "journals" else Database(f"sqlite:///{tmp_path}/studies.db")


def test_the_same_question_resumes(shelf):
    first, _ = opened(shelf)
    first.tell(first.ask(), make_run(1.0))

    again, note = opened(shelf, make_plan(n_trials=9))

    assert (again.name, note) == (first.name, "")
    assert again.answered == 1
    assert again.attributes["case"] == IDENTITY.case


@pytest.mark.parametrize("changed", ["engine", "version", "model", "hardware"])
def test_another_engine_or_machine_is_another_question(shelf, changed):
    first, _ = opened(shelf)

    other, note = opened(shelf, identity=replace(IDENTITY, **{changed: "another"}))

    assert other.name != first.name
    assert "another" in note


def test_another_space_is_a_new_study_and_the_old_one_stays(shelf):
    first, _ = opened(shelf)
    other, note = opened(shelf, OTHER)

    assert note == "new study: default.size: removed (1); space.size: 1 | 2 | 4 | 8 → 1 | 3"
    assert opened(shelf)[0].name == first.name
    assert opened(shelf, OTHER)[0].name == other.name


def test_starting_over_leaves_the_old_answers_behind(shelf):
    first, _ = opened(shelf)
    first.tell(first.ask(), make_run(1.0))

    fresh, note = opened(shelf, fresh=True)

    assert (fresh.answered, note) == (0, "")
    assert opened(shelf)[0].name == fresh.name


def test_what_changed_is_told_from_the_newest_study(shelf):
    sizes = [[1, 3], [1, 5], [1, 7], [1, 9]]
    for options in sizes:
        opened(shelf, make_plan(SearchSpace(choice("size", options))))

    _, note = opened(shelf, make_plan(SearchSpace(choice("size", [1, 2]))))

    assert "space.size: 1 | 9 → 1 | 2" in note


def test_starting_over_twice_resumes_the_newest(shelf):
    names = [opened(shelf, fresh=True)[0].name for _ in range(3)]

    assert opened(shelf)[0].name == names[-1]


def test_the_newest_is_the_one_that_was_begun_last_whatever_the_clock_says(shelf):
    earlier, later = new_id(), new_id()
    opened(shelf, session=later)
    fresh, _ = opened(shelf, session=earlier, fresh=True)

    assert opened(shelf)[0].name == fresh.name
    assert studies(shelf) == {IDENTITY.case: fresh.name}


def test_studies_of_before_there_was_an_order_go_by_their_sessions(shelf):
    names = [opened(shelf, fresh=True)[0].name for _ in range(2)]
    shelf.order = lambda _: 0

    assert opened(shelf)[0].name == names[-1]


def test_workers_that_start_over_together_share_a_study(shelf):
    opened(shelf, session=new_id())
    session = "0" + new_id()[1:]

    names = {opened(shelf, session=session, fresh=True)[0].name for _ in range(2)}

    assert names == {opened(shelf)[0].name}


@pytest.mark.parametrize("version", [99, None])
def test_a_study_in_a_database_that_a_newer_version_wrote_is_refused_and_one_without_a_version_is_read(
    tmp_path, version
):
    shelf = Database(f"sqlite:///{tmp_path}/studies.db")
    study, _ = opened(shelf)
    if version is None:
        with sqlite3.connect(tmp_path / "studies.db") as connection:
            gone = connection.execute("DELETE FROM study_user_attributes WHERE key IN ('schema_version', 'order')")
        assert gone.rowcount == 2
        assert opened(shelf)[0].name == study.name
        return
    study.set_attribute("schema_version", version)

    sentence = rf"the study '{study.name}' in sqlite.* has schema version 99, but this version reads up to 1: upgrade"
    with pytest.raises(SchemaTooNew, match=sentence):
        opened(shelf)


@pytest.mark.parametrize("options", [{"explicit": "mine"}, {"plan": make_plan(name="mine")}])
def test_one_name_stands_for_one_study_a_case(shelf, options):
    other = replace(IDENTITY, case=f"tests/{'x' * 60}/{IDENTITY.case}")
    names = {opened(shelf, identity=identity, **options)[0].name for identity in (IDENTITY, other)}

    again = [opened(shelf, identity=identity, **options) for identity in (IDENTITY, other)]

    assert {study.name for study, _ in again} == names
    assert [note for _, note in again] == ["", ""]


def test_two_studies_of_one_name_in_part_do_not_meet(tmp_path):
    shelf = Journals(tmp_path)
    opened(shelf, make_plan(name="batching"))

    _, note = opened(shelf, make_plan(SearchSpace(choice("size", [1, 3])), name="batching-of-requests"))

    assert note == ""


def test_a_name_that_stands_for_two_spaces_is_told(shelf):
    opened(shelf, make_plan(name="batching"))
    other = replace(IDENTITY, case="test_y.py::test_study[fake]")

    _, note = opened(shelf, make_plan(SearchSpace(choice("size", [1, 3])), name="batching"), other)

    assert note == (
        f"the name 'batching' is that of another study, too ({IDENTITY.case}), which stays apart: "
        "default.size: removed (1); space.size: 1 | 2 | 4 | 8 → 1 | 3"
    )


@pytest.mark.parametrize("explicit", ["mine", "url"])
def test_a_study_that_was_named_must_match(shelf, explicit):
    name = explicit if explicit == "mine" else "postgresql://user:hunter22@host/db"
    opened(shelf, explicit=name)
    opened(shelf, explicit=name)

    with pytest.raises(ConfigurationError, match=r"another question: default\.size: .* --msprof-fresh") as caught:
        opened(shelf, OTHER, explicit=name)

    assert "hunter22" not in str(caught.value)
    assert opened(shelf, OTHER, explicit=name, fresh=True)[0].answered == 0
