"""What a trial comes to is the outcome of its item, and what a study comes to is that of its last."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from fake_project import REGRESSION, said

NEVER_TELLS = """
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        record(load_generator.run(next(trial.workloads()), service))
"""

TURNS = """
class Turning(Fake):
    def update_command(self):
        super().update_command()
        confirming = len(list(self.context.folder.parent.iterdir())) > 2
        fast = [entry.value for entry in self.data_field if entry.name == "capacity"] == [{capacity}]
        self.command.append("--itl=0.001" if fast != confirming else "--itl=0.004")


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Turning)
"""


def test_a_study_goes_on_whatever_happens_to_its_trials(project):
    faults = ["", "exits", "runs out of memory", "hangs", "dies", "refuses", "slow"]
    project.study(
        f"SearchSpace(choice('fault', {faults}), default={{'fault': ''}})", n_trials=7, subject_to={"ttft.p50": 0.2}
    )

    result = project.run()

    assert result.ret == 0
    result.assert_outcomes(passed=2, skipped=6)
    reports = project.reports()
    assert reports["test_study[fake-trial-0]"].outcome == reports["test_study[fake-result]"].outcome == "passed"
    skipped = {report.why: report.sections for report in reports.values() if report.outcome == "skipped"}
    log = {
        why.partition("Skipped: ")[2].partition(":")[0]: sections.get("engine log") for why, sections in skipped.items()
    }
    assert "unrecognized arguments: --turbo" in log["bad option"]
    assert "CUDA out of memory" in log["out of memory"]
    assert "engine core died" in log["crashed under load"]
    assert log.keys() == {"bad option", "out of memory", "timeout", "crashed under load", "client errors", "infeasible"}
    assert any("ttft.p50 0.3" in why and "> 0.2 s" in why for why in skipped)
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] test_suite.py:*: out of memory: fake ended with exit code 1 *"])
    assert "7 of 7 trials (1 measured, " in said(result)
    assert "5 failed" in said(result)


def test_a_study_whose_trials_all_fail_has_no_result(project):
    project.study(
        "SearchSpace(choice('fault', ['exits', 'runs out of memory']), default={'fault': 'exits'})",
        n_trials=2,
        confirm=1,
    )

    result = project.run()

    assert result.ret == 1
    result.assert_outcomes(failed=1, skipped=5)
    assert "all 2 trials failed: " in project.reports()["test_study[fake-result]"].why
    assert "1 × out of memory" in said(result)
    assert project.launches() == 2


def test_a_study_gives_up_after_ten_trials_that_all_failed_and_confirms_none(project):
    project.conftest("""
        class Failing(Fake):
            def update_command(self):
                super().update_command()
                self.command += ["--exit-at-start=3", "--say=error: no kernel image"]


        def pytest_msprof_register_simulators(registry):
            registry.simulators.add("fake", Failing)
    """)
    project.study("SearchSpace(integers('capacity', 1, 64), default={'capacity': 4})", n_trials=14, confirm=2)

    result = project.run()

    assert result.ret == 1
    assert project.launches() == 10
    assert "left over: the first 10 trials all failed: 10 × does not start" in said(result)
    assert "all 10 trials failed: 10 × does not start" in project.reports()["test_study[fake-result]"].why


def test_a_default_that_does_not_start_is_not_started_again_to_confirm(project):
    project.study("SearchSpace(choice('fault', ['exits', '']), default={'fault': 'exits'})", n_trials=2, confirm=1)

    result = project.run()

    assert result.ret == 0
    assert project.launches() == 3
    assert "the default could not be measured" in project.reports()["test_study[fake-confirm-default-0]"].why
    assert 'verdict: fault="": the default could not be measured, so there is nothing to compare' in said(result)


def test_a_study_that_meets_no_constraint_names_the_closest_configuration(project):
    project.study(
        "SearchSpace(choice('ttft', [0.02, 0.05]), default={'ttft': 0.05})", n_trials=2, subject_to={"ttft.p50": 0.005}
    )

    result = project.run()

    assert result.ret == 1
    result.assert_outcomes(failed=1, skipped=2)
    why = project.reports()["test_study[fake-result]"].why
    assert "nothing met the constraints in any trial; closest: ttft=0.02 with ttft.p50 0.02" in why
    assert "> 0.005 s" in why
    assert "% beyond the limit" in why


@pytest.mark.parametrize(("model", "outcome"), [("small", "skipped"), ("large", "passed")])
def test_the_limits_of_the_served_model_decide(project, model, outcome):
    limits = {"ttft.p50": {"small": 0.001, "*": 5.0}}
    project.study("SearchSpace(choice('capacity', [1, 2]))", n_trials=1, subject_to=limits)

    project.run(f"--msprof-model={model}")

    assert project.reports()["test_study[fake-trial-0]"].outcome == outcome


def test_the_default_is_not_confirmed_where_there_is_no_winner_to_compare_it_with(project):
    project.study(
        "SearchSpace(choice('ttft', [0.02, 0.05]), default={'ttft': 0.05})",
        n_trials=2,
        confirm=2,
        subject_to={"ttft.p50": 0.005},
    )

    project.run().assert_outcomes(failed=1, skipped=8)

    assert project.launches() == 2


def test_a_winner_that_fresh_launches_find_slower_than_the_default_fails_the_result(project):
    project.study("SearchSpace(choice('capacity', [4, 8]), default={'capacity': 4})", n_trials=2, confirm=4)
    project.conftest(TURNS.format(capacity=8))

    result = project.run()

    assert result.ret == 1
    result.assert_outcomes(failed=1, passed=10, skipped=4)
    assert (
        "the winner is worse than the default: output_throughput -" in project.reports()["test_study[fake-result]"].why
    )


def test_a_default_that_nothing_beats_is_kept(project):
    project.study("SearchSpace(choice('itl', [0.001, 0.004]), default={'itl': 0.001})", n_trials=2, confirm=4)

    result = project.run()

    assert result.ret == 0
    assert "verdict: keep the default" in said(result)
    assert project.reports()["test_study[fake-confirm-winner-0]"].why.endswith("the winner is the default')")


def test_the_throughput_of_a_device_and_the_cost_of_its_tokens_are_objectives(project):
    project.study(
        'SearchSpace(choice("capacity", [1, 4]), default={"capacity": 1})',
        objective=None,
        objectives=["output_throughput_per_device", "cost"],
        price_per_hour=3.6,
        n_trials=2,
        confirm=1,
    )

    result = project.run("--msprof-devices=0-1")

    assert result.ret == 0
    assert all(run.metrics["output_throughput_per_device"] == run.output_throughput / 2 for run in project.runs())
    (path,) = (project.path / ".msprof" / "best").glob("*/best.json")
    (found,) = json.loads(path.read_text())["front"]
    assert found["metrics"]["cost"] == pytest.approx(1000 / (2 * found["metrics"]["output_throughput_per_device"]))


def test_several_objectives_make_a_score_that_is_confirmed_and_a_front(project):
    project.study(
        "SearchSpace(choice('capacity', [1, 4]), choice('ttft', [0.002, 0.02]), default={'capacity': 1, 'ttft': 0.02})",
        objective=None,
        objectives={"output_throughput": 2, "tpot.p50": 1},
        n_trials=3,
        confirm=1,
    )

    result = project.run()

    assert result.ret == 0
    assert re.search(r"winner: +score \S+, output_throughput \S+ token/s, tpot.p50 \S+ \S+ \(1 launch\)", said(result))
    (best,) = (project.path / ".msprof" / "best").glob("*/best.json")
    written = json.loads(best.read_text())
    assert written["objectives"] == {"output_throughput": 2, "tpot.p50": 1}
    assert [delta["metric"] for delta in written["against_default"]] == ["score", "output_throughput", "tpot.p50"]
    assert {entry["trial"] for entry in written["front"]} <= {0, 1, 2}


def test_what_was_recommended_before_is_gone_once_nothing_meets_the_limits(project):
    space = "SearchSpace(choice('capacity', [1, 4]), default={'capacity': 1})"
    project.study(space, n_trials=2, subject_to={"ttft.p50": 10})
    project.run()
    (path,) = (project.path / ".msprof" / "best").glob("*/best.json")
    before = json.loads(path.read_text())
    project.study(space, n_trials=2, subject_to={"ttft.p50": 1e-5})

    result = project.run()

    assert result.ret == 1
    assert before["fields"] is not None
    now = json.loads(path.read_text())
    assert (now["fields"], now["command"], now["case"]) == (None, None, before["case"])
    assert now["verdict"].startswith("nothing met the constraints in any trial; closest: ")


def test_a_body_that_never_tells_fails(project):
    project.study("SearchSpace(choice('capacity', [4, 8]))", body=NEVER_TELLS, n_trials=1)

    result = project.run("-k", "trial")

    assert result.ret == 1
    assert "the body of test_study[fake-trial-0] never called trial.tell(run)" in said(result)


def test_a_metric_that_a_run_does_not_have_is_an_error_and_never_a_pass(project):
    project.study("SearchSpace(choice('capacity', [4, 8]))", n_trials=1, subject_to={"queue.p50": 0.2})

    result = project.run()

    assert result.ret == 1
    assert "MetricMissing: this run has no metric 'queue'" in said(result)
    assert project.reports()["test_study[fake-trial-0]"].outcome == "failed"


def test_stopping_at_the_first_failure_keeps_what_was_measured(project):
    body = """
def test_study(trial, launch_service, load_generator, record):
    assert trial.number != 1
    with launch_service(trial.fields) as service:
        trial.tell(record(load_generator.run(next(trial.workloads()), service)))
"""
    project.study("SearchSpace(choice('capacity', [1, 2, 4]), default={'capacity': 1})", body=body)

    result = project.run("-x")

    assert result.ret == 1
    result.assert_outcomes(failed=1, passed=1)
    assert "study test_study[fake]: 1 of 3 trials (1 measured)" in said(result)
    assert not project.engines()

    project.study("SearchSpace(choice('capacity', [1, 2, 4]), default={'capacity': 1})")
    again = project.run()

    again.assert_outcomes(passed=3, skipped=1)
    assert sorted(run.fields["capacity"] for run in project.runs()) == [1, 2, 4]


def test_trials_beyond_the_budget_of_time_are_left_over(project):
    project.study("SearchSpace(choice('capacity', [4, 8]))", n_trials=3, minutes=1e-9, confirm=1)

    result = project.run("-k", "trial")

    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=2, deselected=4)
    assert "left over: the budget of 1e-09 minutes ended" in said(result)


def test_trials_beyond_the_size_of_the_space_are_left_over(project):
    project.study("SearchSpace(choice('capacity', [4, 8]))", n_trials=4)

    result = project.run()

    assert result.ret == 0
    result.assert_outcomes(passed=4, skipped=1)
    assert next(run.fields.get("capacity") for run in project.store.runs()) is None
    assert {run.fields.get("capacity") for run in project.runs()} == {None, 4, 8}
    assert "left over: every configuration of the space was measured" in said(result)


@pytest.mark.parametrize("place", ["service", "body"])
def test_an_engine_that_fails_fails_an_ordinary_test_and_shows_its_log(project, place):
    if place == "service":
        project.suite("@pytest.fixture\ndef service_fields():\n    return {'fault': 'exits'}\n" + REGRESSION)
    else:
        project.suite("def test_chat(launch_service):\n    with launch_service({'fault': 'exits'}):\n        pass\n")

    result = project.run()

    assert result.ret == 1
    result.assert_outcomes(**{"errors" if place == "service" else "failed": 1})
    assert "ended with exit code 3 (bad option): error: unrecognized arguments: --turbo" in said(result)
    result.stdout.fnmatch_lines(["*- engine log -*", "error: unrecognized arguments: --turbo"])


def test_a_study_says_what_it_measures_while_it_runs(project):
    project.study('SearchSpace(choice("capacity", [1, 2]), default={"capacity": 1})', n_trials=2, confirm=1)

    project.run().stdout.fnmatch_lines(
        [
            "msprof: trial 0 (1 of 2)",
            "        capacity=1",
            "*msprof: trial 1 (2 of 2), best * token/s (default), about * left",
            "        capacity=2",
            "*msprof: winner again (1 of 1), trial 1, about * left",
            "*msprof: default again (1 of 1), trial 0, about * left",
        ]
    )


def test_a_quiet_session_says_nothing_while_it_runs(project):
    project.study('SearchSpace(choice("capacity", [1, 2]))', n_trials=1)

    project.run("-q").stdout.no_fnmatch_line("msprof: trial*")


def test_workers_of_xdist_say_how_far_they_are_with_their_results(project):
    pytest.importorskip("xdist")
    project.study('SearchSpace(choice("capacity", [1, 2, 4]), default={"capacity": 1})', n_trials=2)

    project.run("-n", "2").stdout.fnmatch_lines(["*msprof: trial 0 (1 of 2)", "        capacity=1"])


CONFIGURED_BY_FILE = """
class ByFile(Fake):
    def update_config(self, params=None):
        self._config_path = self.context.folder / "engine.json"
        self._config_path.write_text(json.dumps({"port": self.context.port, "capacity": params[0].value}))
        self.env["ENGINE_CONFIG"] = str(self._config_path)
        return True


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", ByFile)
"""


def test_the_config_file_of_the_winner_lies_beside_what_is_recommended(project):
    project.conftest(CONFIGURED_BY_FILE)
    project.study('SearchSpace(choice("capacity", [1, 4]), default={"capacity": 1})', n_trials=2, confirm=1)

    project.run().assert_outcomes(passed=5, skipped=1)

    (place,) = (project.path / ".msprof" / "best").iterdir()
    best = json.loads((place / "best.json").read_text())
    assert best["config_file"] == "engine.json"
    assert best["environment"]["ENGINE_CONFIG"] == str(place / "engine.json")
    assert json.loads((place / "engine.json").read_text()) == {"port": 8000, "capacity": best["fields"]["capacity"]}
    assert [entry["role"] for entry in best["confirmed"]] == ["winner", "default"]
    assert best["confirmed"][0] | {"trial": 0} == {
        "role": "winner", "trial": 0, "launches": 1, "failed": 0, "limits_missed": 0,
    }  # fmt: skip


def test_a_config_file_that_is_gone_is_not_named(project):
    project.conftest(CONFIGURED_BY_FILE)
    project.study('SearchSpace(choice("capacity", [1, 4]), default={"capacity": 1})', n_trials=2)
    project.run()
    shutil.rmtree(project.path / ".msprof" / "logs")

    project.run()

    (place,) = (project.path / ".msprof" / "best").iterdir()
    assert json.loads((place / "best.json").read_text())["config_file"] == ""
