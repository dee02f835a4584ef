"""Searches by name in a test session: each measures the default first, and says why it ended."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from fake_project import said

SPACE = 'SearchSpace(choice("capacity", [1, 2, 4]), default={"capacity": 1})'


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ("brute", "all 3 points of the grid were measured"),
        ("manual", "all 3 listed configurations were measured"),
        ("quick", "no neighbour of the best point is better"),
        ("pso", "the swarm has settled"),
    ],
)
def test_a_search_by_name_ends_and_says_why(project, search, reason):
    project.study(SPACE, n_trials=5, confirm=0, search=search)

    result = project.run()

    result.assert_outcomes(passed=4, skipped=2)
    assert reason in project.reports()["test_study[fake-trial-4]"].why
    assert f"stopped: {reason}" in said(result)
    assert f"not tried: 2 of 5 trials: {reason}" in said(result)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("manual", "search='manual' measures all 3 configurations, default included, but n_trials is 2"),
        ("optuna:anneal", "unknown sampler of optuna 'anneal'"),
        ("optuna:grid", "search='brute' makes a grid"),
        ("annealing", "unknown search 'annealing' (known: *"),
    ],
)
def test_a_search_that_cannot_be_is_a_usage_error_before_anything_starts(project, search, message):
    project.study(SPACE, n_trials=2, search=search)

    refused = project.run()

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines([f"ERROR: msprof: *{message.replace('[', '[[]')}*"])


def test_a_budget_of_minutes_that_ended_is_why_the_study_stopped(project):
    project.study(SPACE, n_trials=3, minutes=0.0001)

    result = project.run()

    result.assert_outcomes(passed=2, skipped=2)
    assert "stopped: the budget of 0.0001 minutes ended" in said(result)


@pytest.mark.parametrize(("search", "install"), [("botorch", "pip install optuna-integration botorch")])
def test_a_search_that_is_not_installed_says_how_to_install_it(project, search, install):
    if find_spec("optuna_integration"):
        pytest.skip(f"{search} is installed here")
    project.study(SPACE, n_trials=2, search=search)

    refused = project.collect()

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert install in " ".join(refused.errlines)


def test_a_trial_that_is_clearly_behind_after_a_short_run_is_skipped_with_its_figures(project):
    space = "SearchSpace(choice('itl', [0.003, 0.01, 0.012, 0.014, 0.016]), default={'itl': 0.003})"
    load = "Workload(input_tokens=4, output_tokens=8, concurrency=2, num_requests=72, warmup=0)"
    project.study(space, search="auto", n_trials=5, load_name=load)

    result = project.run()

    result.assert_outcomes(passed=5, skipped=1)
    why = project.reports()["test_study[fake-trial-4]"].why
    assert "clearly behind trial 0 in the first 15 requests: " in why
    assert "5 of 5 trials (4 measured, 1 behind)" in said(result)
    assert [run.workload.num_requests for run in project.runs()] == [72, 72, 72, 72, 15]
