"""`best.json`: a script deploys what it says, so it never says what no longer holds."""

from __future__ import annotations

from report_samples import WINNER, sample_study

from pytest_msprof.best_file import write_best
from pytest_msprof.json_files import read_json
from pytest_msprof.summary import StudySummary


def nothing_met() -> StudySummary:
    return sample_study(
        winner=None,
        confirmations=(),
        deltas=(),
        command="",
        environment={},
        config_file="",
        config_text="",
        verdict="nothing met the constraints in any trial; closest: the default with ttft.p50 2.4 s > 0.001 s",
    )


def test_the_winner_stands_with_all_that_starts_it(tmp_path):
    study = sample_study()

    path = write_best(tmp_path, study)

    found = read_json(path)
    assert found["fields"] == WINNER
    assert (found["command"], found["environment"]) == (study.command, study.environment)
    assert (found["is_default"], found["keep_default"], found["is_confirmed"]) == (False, False, True)
    assert (path.parent / found["config_file"]).read_text() == study.config_text


def test_a_study_without_a_winner_takes_the_place_of_what_was_recommended_before(tmp_path):
    before = write_best(tmp_path, sample_study())

    path = write_best(tmp_path, nothing_met())

    found = read_json(path)
    assert path == before
    assert found["fields"] is None
    assert found["command"] is None
    assert (found["is_default"], found["keep_default"], found["is_confirmed"]) == (False, False, False)
    assert found["verdict"].startswith("nothing met the constraints")
    assert [entry.name for entry in path.parent.iterdir()] == ["best.json"]
    assert found.keys() == read_json(write_best(tmp_path, sample_study())).keys()


def test_no_file_is_removed_that_is_not_the_one_of_the_winner_before(tmp_path):
    path = write_best(tmp_path / "folder", sample_study())
    mine = path.parent / "mine.yaml"
    mine.write_text("mine")
    outside = path.parent.parent / "outside.yaml"
    outside.write_text("mine too")
    path.write_text(path.read_text().replace('"config.yaml"', '"../outside.yaml"'))

    write_best(tmp_path / "folder", nothing_met())

    assert mine.exists()
    assert outside.exists()


def test_a_damaged_file_of_before_is_replaced(tmp_path):
    path = write_best(tmp_path, sample_study())
    path.write_text("{")

    assert read_json(write_best(tmp_path, nothing_met()))["fields"] is None
