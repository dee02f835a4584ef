"""Verdicts rest on launches: as many fresh ones as asked for, round by round."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from fake_project import REGRESSION, said

CASES = """
@pytest.mark.parametrize("concurrency", [1, 4])
def test_chat(service, load_generator, record, golden, concurrency):
    run = record(load_generator.run(LOAD.with_load(concurrency=concurrency), service))
    compare(run, golden.runs, Tolerance({"tpot.p50": 0.25})).raise_for_regression()
"""


@pytest.fixture
def measured(project, monkeypatch):
    """A project whose golden runs come from four launches of an engine of 5 ms a token."""
    monkeypatch.setenv("FAKE_ITL", "0.005")
    project.suite(REGRESSION)
    project.run("--msprof-repeat=4").assert_outcomes(passed=4)
    return project


def golden_runs(project):
    (index,) = (project.path / ".msprof" / "golden").glob("*/golden.json")
    return json.loads(index.read_text())["runs"]


def test_repeats_are_fresh_launches_that_go_round_by_round(project):
    project.suite(CASES)

    result = project.run("--msprof-repeat=4")

    result.assert_outcomes(passed=8)
    runs = project.runs()
    assert [(run.repeat, run.workload.concurrency) for run in runs] == [(k, n) for k in range(4) for n in (1, 4)]
    assert [run.launch_id == runs[0].launch_id for run in runs] == [True, True, *[False] * 6]
    assert len({run.launch_id for run in runs}) == project.launches() == 4
    assert {run.case for run in runs} == {f"test_suite.py::test_chat[fake-{n}]" for n in (1, 4)}
    for index in (project.path / ".msprof" / "golden").glob("*/golden.json"):
        assert len(json.loads(index.read_text())["runs"]) == 4


def test_an_unchanged_engine_passes_with_a_verdict(measured):
    golden = golden_runs(measured)

    result = measured.run("--msprof-repeat=4", "--msprof-strict")

    result.assert_outcomes(passed=4)
    assert "test_chat[fake]: unchanged (4 launches)" in said(result)
    assert "these launches would show a change of tpot.p50 " in said(result)
    assert golden_runs(measured) == golden


def test_a_slower_engine_fails_and_leaves_the_golden_runs_alone(measured, monkeypatch):
    golden = golden_runs(measured)
    monkeypatch.setenv("FAKE_ITL", "0.015")

    result = measured.run("--msprof-repeat=4")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1)
    assert "Regression: test_suite.py::test_chat[fake] is regressed" in said(result)
    assert golden_runs(measured) == golden

    moved = measured.run("--msprof-repeat=4", "--msprof-update-golden")

    moved.assert_outcomes(passed=4)
    assert golden_runs(measured) == [run.id for run in measured.runs()[-4:]]


def test_too_few_launches_warn_and_fail_where_strictness_is_asked_for(project):
    project.suite(REGRESSION)
    project.run().assert_outcomes(passed=1)

    warned = project.run("--junitxml=junit.xml")

    warned.assert_outcomes(passed=1, warnings=1)
    assert "ComparisonWarning: test_suite.py::test_chat[fake] is descriptive" in said(warned)
    properties = {entry.get("name"): entry.get("value") for entry in ET.parse("junit.xml").iter("property")}
    assert properties["msprof.verdict"] == "descriptive"
    assert properties["msprof.run"] == project.runs()[-1].id

    strict = project.run("--msprof-strict")

    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    strict.assert_outcomes(failed=1)
    assert "is descriptive" in said(strict)
