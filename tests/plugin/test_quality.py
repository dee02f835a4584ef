"""No configuration wins by answering wrongly, and a plugin's own test of the answers counts like any metric."""

from __future__ import annotations

import json

import pytest
from fake_project import said

QUICK_AND_WRONG = """
class QuickAndWrong(Fake):
    def update_command(self):
        super().update_command()
        wrong = any(entry.name == "word" and entry.value == "nonsense" for entry in self.data_field)
        self.command.append("--itl=0.0005" if wrong else "--itl=0.004")


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", QuickAndWrong)
"""
SPACE = "SearchSpace(choice('word', ['token', 'nonsense']){mark}, default={{'word': 'token'}})"
GRADED = """
def pytest_msprof_quality(service, names):
    assert names == ("sense",)
    return {{"sense": {score} if service.fields["word"] == "nonsense" else 0.8}}
"""


def best(project):
    (path,) = (project.path / ".msprof" / "best").glob("*/best.json")
    return json.loads(path.read_text())


def test_a_configuration_that_answers_wrongly_does_not_win_however_fast_it_is(project):
    project.conftest(QUICK_AND_WRONG)
    project.study(SPACE.format(mark=".marked(numerics=True)"), n_trials=2, confirm=1)

    result = project.run()

    assert result.ret == 0
    wrong = project.reports()["test_study[fake-trial-1]"]
    assert (wrong.outcome, "infeasible: agreement 0 < 0.9" in wrong.why) == ("skipped", True)
    assert best(project)["fields"] == {"word": "token"}
    assert best(project)["subject_to"] == {"agreement": 0.9}
    assert best(project)["metrics"]["agreement"] == 1.0
    assert {run.metrics["agreement"] for run in project.runs()} == {0.0, 1.0}


@pytest.mark.parametrize(("mark", "limits"), [("", {}), (".marked(numerics=True)", {"agreement": None})])
def test_a_study_that_changes_no_numerics_or_was_told_not_to_asks_no_probes(project, mark, limits):
    project.conftest(QUICK_AND_WRONG)
    project.study(SPACE.format(mark=mark), n_trials=2, subject_to=limits)

    assert project.run().ret == 0

    assert best(project)["fields"] == {"word": "nonsense"}
    assert all("agreement" not in run.metrics for run in project.runs())


@pytest.mark.parametrize(("score", "winner"), [(0.3, "token"), (0.9, "nonsense")])
def test_a_test_of_ones_own_can_be_a_limit(project, score, winner):
    project.conftest(QUICK_AND_WRONG + GRADED.format(score=score))
    project.study(SPACE.format(mark=""), n_trials=2, subject_to={"quality.sense": 0.7})

    assert project.run().ret == 0

    assert best(project)["fields"] == {"word": winner}


def test_a_test_that_nobody_has_is_an_error_and_never_a_pass(project):
    project.study(SPACE.format(mark=""), n_trials=1, subject_to={"quality.sense": 0.7})

    result = project.run()

    assert result.ret == 1
    assert "MetricMissing: this run has no metric 'quality.sense'" in said(result)


def test_the_first_that_starts_is_the_reference_where_the_default_does_not(project):
    space = (
        "SearchSpace(choice('fault', ['exits', '']), choice('word', ['token', 'nonsense']).marked(numerics=True),"
        " default={'fault': 'exits', 'word': 'token'}, where=['fault == \"\" or word == \"token\"'])"
    )
    project.study(space, n_trials=3)

    result = project.run()

    assert result.ret == 0
    assert sorted(run.metrics["agreement"] for run in project.runs()) == [0.0, 1.0]
