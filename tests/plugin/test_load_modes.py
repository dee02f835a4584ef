"""The load of a study can be found inside each trial, on one live service."""

from __future__ import annotations

import json

from fake_project import said

SPACE = "SearchSpace(choice('capacity', [2, 8]), default={'capacity': 2})"
LOAD = "Workload(input_tokens=4, output_tokens=16, concurrency=2, num_requests=12, warmup=0)"


def test_the_largest_load_under_the_limits_is_found_on_one_launch_and_confirmed_there(project):
    project.study(SPACE, load="max_under_slo", load_name=LOAD, n_trials=2, confirm=1, subject_to={"ttft.p90": 0.05})
    project.conftest("Fake.behaviour |= {'itl': 0.01}")

    result = project.run("--msprof-report", "no")

    result.assert_outcomes(passed=5, skipped=1)
    trials = {}
    for run in project.runs():
        trials.setdefault(run.launch_id, []).append(run)
    searched = [runs for runs in trials.values() if len(runs) > 1]
    assert len(searched) == 2
    found = {
        runs[0].fields["capacity"]: max(
            (run.workload.concurrency for run in runs if run.ttft["p90"] <= 0.045), default=0
        )
        for runs in searched
    }
    assert found[2] <= 2 < found[8]
    assert "best: capacity=8 under concurrency" in said(result)
    (saved,) = (project.path / ".msprof" / "best").glob("*/best.json")
    best = json.loads(saved.read_text())
    assert best["fields"] == {"capacity": 8}
    assert best["load"] > 2
    assert best["is_confirmed"]
    assert "--capacity=8" in best["command"]


def test_a_load_mode_without_a_limit_is_refused_before_anything_starts(project):
    project.study(SPACE, load="max_under_slo")

    result = project.collect()

    assert result.ret == 4
    result.stderr.fnmatch_lines(["*needs a limit that a heavier load can break*"])
