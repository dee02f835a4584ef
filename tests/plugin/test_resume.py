"""Running again resumes: nothing that was measured is lost, and nothing is measured twice."""

from __future__ import annotations

import signal

import pytest
from fake_project import PATIENCE, said

SPACE = "SearchSpace(choice('capacity', [1, 2, 4]), default={'capacity': 1})"
OTHER_SPACE = "SearchSpace(choice('capacity', [1, 2, 8]), default={'capacity': 1})"

STOPS = """
def test_study(trial, launch_service, load_generator, record):
    import os, signal

    with launch_service(trial.fields) as service:
        run = record(load_generator.run(next(trial.workloads()), service))
        if trial.number == int(os.environ.get("STOPS_IN", "-1")):
            print("in the middle", flush=True)
            signal.pause()
        trial.tell(run)
"""

STOPS_CONFIRMING = """
def test_study(trial, launch_service, load_generator, record):
    import os, signal

    with launch_service(trial.fields) as service:
        if trial.slot.id == os.environ.get("STOPS_IN"):
            print("in the middle", flush=True)
            signal.pause()
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
"""

TAKES_AN_HOUR = """
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            if trial.number == 0:
                trial._proposal.asked_at -= 3600
            trial.tell(record(load_generator.run(workload, service)))
"""


def trials(project):
    """Return what was measured in the search, by configuration."""
    return [run.fields["capacity"] for run in project.runs()]


def test_a_finished_study_is_answered_from_its_log_and_confirmed_anew(project):
    project.study(SPACE, confirm=1)
    first = project.run()
    first.assert_outcomes(passed=7)

    again = project.run()

    assert again.ret == 0
    again.assert_outcomes(passed=4, skipped=3)
    why = project.reports()["test_study[fake-trial-1]"].why
    assert "answered from study test_suite.py::test_study[fake]" in why
    assert len(project.runs()) == 3 + 3 + 3


def test_a_confirmation_that_was_killed_goes_on_where_it_ended_and_the_next_one_is_anew(project, monkeypatch):
    project.study(SPACE, confirm=2, body=STOPS_CONFIRMING)
    monkeypatch.setenv("STOPS_IN", "confirm-winner-1")
    with project.running("-s") as process:
        assert any("in the middle" in line for line in process.stdout)
        process.kill()
        process.communicate(timeout=PATIENCE)
    monkeypatch.delenv("STOPS_IN")
    before = {run.id for run in project.runs()}

    resumed = project.run()

    resumed.assert_outcomes(passed=4, skipped=6)
    assert len(before) == 3 + 3
    assert len(project.runs()) == 3 + 6
    assert "answered from study" in project.reports()["test_study[fake-confirm-default-0]"].why
    assert said(resumed).count("(2 launches)") == 3
    assert "as an earlier session confirmed" not in said(resumed)
    project.run().assert_outcomes(passed=7, skipped=3)
    assert len(project.runs()) == 3 + 6 + 6


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_was_ended_in_a_trial_loses_no_other_and_measures_none_twice(project, monkeypatch, number):
    project.study(SPACE, body=STOPS)
    monkeypatch.setenv("STOPS_IN", "1")
    with project.running("-s") as process:
        assert any("in the middle" in line for line in process.stdout)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    monkeypatch.delenv("STOPS_IN")

    result = project.run()

    assert result.ret == 0
    result.assert_outcomes(passed=2, skipped=2)
    assert sorted(trials(project)) == [1, 2, 4]
    assert "3 of 3 trials (3 measured)" in said(result)


def test_starting_over_measures_everything_again(project):
    project.study(SPACE)
    project.run()

    result = project.run("--msprof-fresh")
    result.assert_outcomes(passed=4)
    assert sorted(trials(project)) == [1, 1, 2, 2, 4, 4]

    resumed = project.run()
    resumed.assert_outcomes(passed=1, skipped=3)


def test_another_question_is_a_new_study_and_what_changed_is_said(project):
    project.study(SPACE)
    project.run()
    project.study(OTHER_SPACE)

    result = project.run()

    result.assert_outcomes(passed=2, skipped=2)
    assert "note: new study: space.capacity: 1 | 2 | 4 → 1 | 2 | 8" in said(result)


def test_what_another_study_measured_is_not_measured_again(project):
    project.study(SPACE)
    project.run()
    project.study(OTHER_SPACE)
    project.run()

    assert sorted(trials(project)) == [1, 2, 4, 8]
    why = project.reports()["test_study[fake-trial-0]"].why
    assert "answered from run " in why
    assert ": measured" in why


def test_other_hardware_is_another_study_and_what_was_measured_on_the_first_answers_nothing(project):
    project.study(SPACE)
    project.run("--msprof-devices=0").assert_outcomes(passed=4)

    other = project.run("--msprof-devices=0-1")

    other.assert_outcomes(passed=4)
    assert "note: new study: hardware: " in said(other)
    assert sorted(trials(project)) == [1, 1, 2, 2, 4, 4]
    project.run("--msprof-devices=1").assert_outcomes(passed=1, skipped=3)


@pytest.mark.parametrize(("load", "options"), [("LOAD.with_load(concurrency=3)", ()), ("LOAD", ("--msprof-fresh",))])
def test_another_load_or_the_wish_to_start_over_measures_again(project, load, options):
    project.study(SPACE)
    project.run()
    project.study(OTHER_SPACE, load_name=load)

    project.run(*options).assert_outcomes(passed=4)


def test_a_named_study_must_answer_the_same_question(project):
    project.study(SPACE)
    project.run("--msprof-study", "mine").assert_outcomes(passed=4)
    project.run("--msprof-study", "mine").assert_outcomes(passed=1, skipped=3)
    project.study(OTHER_SPACE)
    measured = len(project.runs())

    refused = project.run("--msprof-study", "mine")

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: msprof: study 'mine' answers another question: *--msprof-fresh starts over"])
    assert len(project.runs()) == measured
    project.run("--msprof-study", "mine", "--msprof-fresh").assert_outcomes(passed=4)


def test_a_budget_of_minutes_is_that_of_the_study_not_of_each_session(project):
    project.study(SPACE, body=TAKES_AN_HOUR, minutes=1)
    project.run("-k", "trial-0").assert_outcomes(passed=1, deselected=3)

    ended = project.run()

    ended.assert_outcomes(passed=1, skipped=3)
    assert trials(project) == [1]
    assert "left over: the budget of 1 minutes ended" in project.reports()["test_study[fake-trial-1]"].why
    assert "not tried: 2 of 3 configurations: the budget of 1 minutes ended" in said(ended)
    project.study(SPACE, minutes=90)
    project.run().assert_outcomes(passed=3, skipped=1)
    assert sorted(trials(project)) == [1, 2, 4]


def test_a_line_that_a_killed_writer_left_torn_costs_nothing(project):
    project.study(SPACE)
    project.run("-k", "trial-0 or trial-1")
    (journal,) = (project.path / ".msprof" / "studies").glob("*.journal")
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "worker_id": "torn')

    project.run().assert_outcomes(passed=2, skipped=2)
    project.run().assert_outcomes(passed=1, skipped=3)
    assert sorted(trials(project)) == [1, 2, 4]
