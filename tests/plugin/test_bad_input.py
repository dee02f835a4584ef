"""What a study is told wrong, or meets on the way: one sentence each, and nothing that was measured is lost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from fake_project import said

SPACE = 'SearchSpace(choice("capacity", [1, 2, 4, 8]), default={"capacity": 1})'
REPORTS = """
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            run = record(load_generator.run(workload, service))
            trial.tell(run.model_copy(update={{"metrics": {{**run.metrics, "output_throughput": float("{}")}}}}))
"""
MEASURES = """
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            run = load_generator.run(workload, service)
            if {when}:
                run = run.model_copy(update={{"metrics": {{**run.metrics, "{metric}": float("{figure}")}}}})
            trial.tell(record(run))
"""


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("SearchSpace()", "a search space needs at least one field"),
        ('SearchSpace(integers("capacity", 8, 2))', "needs min ≤ max, but got 8 and 2"),
        ('SearchSpace(integers("capacity", 0, 8, log=True))', "has log=True and needs min > 0, but got 0"),
        ('SearchSpace(integers("capacity", 1, 8), default={"capacity": 9})', "'capacity' is 1 to 8, but got 9"),
        ('SearchSpace(integers("capacity", 1, 8), where=["capacity > 9"])', "no configuration meets the conditions"),
        ('SearchSpace(floats("capacity", 1, 8), where=["capacity > 9"])', "drawn by lot meets the conditions"),
    ],
)
def test_a_space_in_which_nothing_can_be_tried_ends_the_collection(project, space, message):
    project.study(space)

    refused = project.collect()

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert message in " ".join(refused.errlines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "throughput"}, "unknown metric 'throughput' (known: "),
        ({"subject_to": {"ttft.p51": 0.3}}, "unknown statistic of ttft 'p51' (known: "),
        ({"n_trials": 0}, "n_trials as a whole number from 1, but got 0"),
        ({"minutes": 0}, "minutes above 0, but got 0"),
    ],
)
def test_a_question_that_cannot_be_answered_ends_the_collection(project, arguments, message):
    project.study(SPACE, **arguments)

    refused = project.collect()

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert message in " ".join(refused.errlines)


def test_a_budget_of_one_trial_measures_the_default_and_keeps_it(project):
    project.study(SPACE, n_trials=1, confirm=1)

    result = project.run()

    result.assert_outcomes(passed=3, skipped=2)
    assert "keep the default: nothing else was tried" in said(result)


def test_a_metric_that_the_benchmark_does_not_provide_costs_one_start_and_says_what_there_is(project):
    project.study(SPACE, n_trials=3, objective="energy")

    result = project.run()

    result.assert_outcomes(failed=2, skipped=2)
    assert project.launches() == 1
    why = project.reports()["test_study[fake-trial-2]"].why
    assert "left over: nothing could be measured: this run has no metric 'energy' (it has: success_rate, " in why
    assert (
        "nothing could be measured: this run has no metric 'energy'" in project.reports()["test_study[fake-result]"].why
    )


@pytest.mark.parametrize("figure", ["nan", "inf", "-inf"])
def test_a_figure_that_is_no_number_is_an_error_and_never_a_value(project, figure):
    project.study(SPACE, n_trials=2, body=REPORTS.format(figure))

    project.run().assert_outcomes(failed=2, skipped=1)

    why = project.reports()["test_study[fake-trial-0]"].why
    assert f"output_throughput is {figure}, which no study can learn from" in why


@pytest.mark.parametrize("figure", ["nan", "-inf"])
def test_an_objective_that_is_no_number_when_it_is_recorded_is_named_and_measured_once(project, figure):
    project.study(SPACE, body=MEASURES.format(when=True, metric="output_throughput", figure=figure))

    project.run().assert_outcomes(failed=2, skipped=2)

    reports = project.reports()
    assert f"output_throughput is {figure}" in reports["test_study[fake-trial-0]"].why
    assert (
        f"left over: nothing could be measured: output_throughput is {figure}"
        in reports["test_study[fake-trial-1]"].why
    )
    assert f"nothing could be measured: output_throughput is {figure}" in reports["test_study[fake-result]"].why
    (run,) = project.runs()
    assert run.notes[-1] == f"left out, for it is no number: output_throughput is {figure}"


def test_workers_measure_once_together_what_nobody_can_measure_again(project):
    project.study(SPACE, n_trials=4, body=MEASURES.format(when=True, metric="output_throughput", figure="nan"))

    result = project.run("-n", "2")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(project.runs()) <= 2
    assert "nothing could be measured: output_throughput is nan" in project.reports()["test_study[fake-result]"].why


def test_one_configuration_without_a_number_is_an_error_and_the_study_goes_on_without_it(project):
    body = MEASURES.format(when="trial.number == 1", metric="output_throughput", figure="nan")
    project.study(SPACE, n_trials=4, body=body)

    project.run().assert_outcomes(failed=1, passed=4)

    assert "output_throughput is nan" in project.reports()["test_study[fake-trial-1]"].why
    project.run().assert_outcomes(passed=1, skipped=4)
    assert len(project.runs()) == 4


def test_a_figure_that_nobody_asked_for_loses_no_run_where_it_is_no_number(project):
    project.study(SPACE, n_trials=2, body=MEASURES.format(when=True, metric="energy", figure="nan"))

    project.run().assert_outcomes(passed=3)

    assert all("energy" not in run.metrics for run in project.runs())
    assert all("energy is nan" in run.notes[-1] for run in project.runs())


FILLS = """
def test_study(trial, launch_service, load_generator, record):
    import os, pathlib, resource

    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            run = record(load_generator.run(workload, service))
            if trial.number == 2 and "IS_FULL" in os.environ:
                (journal,) = pathlib.Path(".msprof/studies").glob("*.journal")
                limit = (journal.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            trial.tell(run)
"""


def test_a_disk_that_is_full_is_one_sentence_and_the_study_goes_on_with_room(project, monkeypatch):
    project.study(SPACE, n_trials=4, body=FILLS)
    monkeypatch.setenv("IS_FULL", "yes")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "yes")  # no module is to be cut off, which later runs would read

    full = project.run()

    (sentence,) = {report.why for report in project.reports().values() if report.outcome == "failed"}
    assert sentence.startswith("the study's journal ")
    assert "cannot be written: File too large" in sentence
    assert "Traceback" not in said(full)
    monkeypatch.delenv("IS_FULL")
    before = len(project.runs())
    project.run().assert_outcomes(passed=2, skipped=3)
    assert before == 3
    assert len(project.runs()) == 4


LOCKS = """
def test_study(trial, launch_service, load_generator, record):
    import pathlib, sqlite3

    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            run = record(load_generator.run(workload, service))
            if trial.number == 1 and not pathlib.Path("locked").exists():
                pathlib.Path("locked").touch()
                test_study.lock = sqlite3.connect("studies.db", isolation_level=None)
                test_study.lock.execute("BEGIN EXCLUSIVE")
            trial.tell(run)
"""


def test_a_database_that_is_lost_in_the_middle_is_one_sentence_and_the_study_goes_on_with_it(project):
    project.conftest("""
        from pytest_msprof.tuning import patience

        patience.SECONDS = 0.5
    """)
    project.study(SPACE, n_trials=4, body=LOCKS)
    options = ("--msprof-study", "sqlite:///studies.db?timeout=0.05")

    lost = project.run(*options)

    assert lost.ret == pytest.ExitCode.TESTS_FAILED
    failed = {report.why for report in project.reports().values() if report.outcome == "failed"}
    sentence = "cannot be used for 0.5 s: database is locked; what was measured so far is kept"
    assert all(why.count(sentence) == 1 for why in failed)
    printed = said(lost) + "".join(lost.errlines)
    assert "Traceback" not in printed
    assert "During handling of the above exception" not in printed
    assert "INTERNALERROR" not in printed
    again = project.run(*options)
    assert again.ret == 0
    assert "4 of 4 trials (4 measured)" in said(again)
    assert len(project.runs()) == 4


def test_a_study_of_a_newer_version_is_refused_with_both_versions(project):
    project.study(SPACE, n_trials=2)
    project.run()
    (path,) = (project.path / ".msprof" / "studies").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 9}))

    project.run().assert_outcomes(errors=3)

    assert "schema" in project.reports()["test_study[fake-trial-0]"].why
    assert project.launches() == 2


def test_a_damaged_journal_is_one_sentence_and_without_it_the_recorded_runs_answer(project):
    project.study(SPACE, n_trials=2)
    project.run().assert_outcomes(passed=3)
    (journal,) = (project.path / ".msprof" / "studies").glob("*.journal")
    journal.write_bytes(b"garbage\n" + journal.read_bytes())

    damaged = project.run()

    damaged.assert_outcomes(errors=3)
    assert f"journal {journal} is damaged in line 1: " in project.reports()["test_study[fake-trial-0]"].why
    assert "Traceback" not in said(damaged)
    journal.rename(journal.with_suffix(".damaged"))
    project.run().assert_outcomes(passed=1, skipped=2)
    assert len(project.runs()) == 2


def test_a_named_study_of_a_newer_version_ends_the_collection(project):
    project.study(SPACE, n_trials=1)
    project.run("--msprof-study", "tonight")
    (path,) = (project.path / ".msprof" / "studies").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 9}))

    refused = project.run("--msprof-study", "tonight")

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "has schema version 9, but this version reads up to 1" in " ".join(refused.errlines)


def test_a_database_that_is_locked_from_the_start_ends_the_collection(project):
    project.conftest("""
        from pytest_msprof.tuning import patience

        patience.SECONDS = 0.5
    """)
    project.study(SPACE, n_trials=1)
    with closing(sqlite3.connect(project.path / "studies.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        refused = project.run("--msprof-study", "sqlite:///studies.db?timeout=0.05")

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be used for 0.5 s: database is locked" in " ".join(refused.errlines)


def test_one_name_for_two_spaces_shows_what_differs(project):
    project.study(SPACE, n_trials=1)
    project.run("--msprof-study", "tonight")
    project.study('SearchSpace(choice("capacity", [1, 16]), default={"capacity": 1})', n_trials=1)

    refused = project.collect("--msprof-study", "tonight")

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    told = " ".join(refused.errlines)
    assert "study 'tonight' answers another question" in told
    assert "space.capacity: 1 | 2 | 4 | 8 → 1 | 16" in told


def test_two_studies_of_one_name_in_one_suite_do_not_meet(project):
    project.study(SPACE, n_trials=1, name="test_one")
    project.study('SearchSpace(choice("capacity", [1, 16]))', n_trials=1, name="test_two")
    for path in project.path.glob("test_*.py"):
        path.write_text(path.read_text().replace("n_trials=1", "n_trials=1, name='same'"))

    result = project.run()

    result.assert_outcomes(passed=4)
    assert "note: the name 'same' is that of another study, too (" in said(result)
    assert "space.capacity: 1 | 2 | 4 | 8 → 1 | 16" in said(result)
    assert len(list((project.path / ".msprof" / "studies").glob("*.json"))) == 2


def test_a_clock_that_runs_backwards_changes_nothing(project):
    project.conftest("""
        import time

        real, real_ns, gone = time.time, time.time_ns, [0]

        def earlier():
            gone[0] += 600
            return gone[0]

        time.time = lambda: real() - earlier()
        time.time_ns = lambda: real_ns() - earlier() * 10**9
    """)
    project.study(SPACE, n_trials=4, confirm=1)

    project.run().assert_outcomes(passed=8)
    again = project.run()

    again.assert_outcomes(passed=4, skipped=4)
    assert "4 of 4 trials (4 measured)" in said(again)
