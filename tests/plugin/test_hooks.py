"""Plugins and conftests are asked and told, those above an item and no others."""

from __future__ import annotations

from fake_project import REGRESSION, said

LISTENS = """
def pytest_msprof_run_recorded(run, folder):
    with open("heard", "a") as file:
        print("{who} run", run.case, (folder / "run.json").exists(), file=file)


def pytest_msprof_trial_finished(study, trial):
    with open("heard", "a") as file:
        print("{who} trial", trial.number, trial.state, file=file)


def pytest_msprof_update_environment(environment, service):
    environment["{who}"] = service.engine


def pytest_msprof_sampler(name, seed, constraints):
    if name == "by lot":
        import optuna

        print("sampler for", constraints)
        return optuna.samplers.RandomSampler(seed=seed)
"""

DECIDES = """
import optuna


def pytest_msprof_launch_service(simulator, item):
    print("launch", item.name, simulator.context.devices)


def pytest_msprof_service_ready(service):
    print("ready", service.model)
    return True


def pytest_msprof_terminal_lines(summary):
    return [f"our own line about {len(summary.runs)} runs"]


def pytest_msprof_write_report(name, summary, folder):
    if name == "mine":
        path = folder / "report.txt"
        path.write_text(str(len(summary.runs)))
        return path
"""

WATCHES = """
from pytest_msprof import Monitor


class Thermometer(Monitor):
    def start(self, watched):
        return watched.is_local and watched.pid > 0

    def read(self):
        return {"temperature": 21.5}


class Worn(Thermometer):
    def read(self):
        raise OSError("the sensor fell off")


def pytest_msprof_register_monitors(registry):
    registry.monitors.add("mine", Thermometer)
    registry.monitors.add("worn", Worn)
"""


def test_only_conftests_above_an_item_hear_of_it(project):
    for folder in ("a", "b"):
        (project.path / folder).mkdir()
        (project.path / folder / "conftest.py").write_text(LISTENS.format(who=folder))
    project.suite(REGRESSION, "a/test_chat")
    project.study("SearchSpace(choice('fault', ['', 'exits']), default={'fault': ''})", n_trials=2, name="b/test_tune")

    result = project.run("--rootdir=.", "a", "b")

    assert result.ret == 0
    assert (project.path / "heard").read_text().splitlines() == [
        "a run a/test_chat.py::test_chat[fake] True",
        "b run b/test_tune.py::test_study[fake] True",
        "b trial 0 measured",
        "b trial 1 failed",
    ]
    assert [{"a", "b"} & run.environment.keys() for run in project.runs()] == [{"a"}, {"b"}]


def test_plugins_launch_judge_readiness_and_report(project):
    project.conftest(DECIDES)
    project.suite(REGRESSION)

    result = project.run("-s", "--msprof-report=mine")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*launch test_chat[[]fake[]] ()", f"ready {project.model}"])
    result.stdout.fnmatch_lines(["our own line about 1 runs", "report: *report.txt"])


def test_a_conftest_watches_beside_every_load(project):
    project.conftest(WATCHES)
    project.suite(REGRESSION)

    assert project.run().ret == 0

    (run,) = project.runs()
    assert run.series["mine.temperature"].values.tolist()[0] == 21.5
    assert {"running", "host.memory", "host.engine_memory"} <= run.series.keys()
    assert run.notes[-1] == "monitor 'worn' stopped watching: OSError: the sensor fell off"


def test_a_report_that_nobody_writes_fails_the_session_and_nothing_else(project):
    project.suite(REGRESSION)

    result = project.run("--msprof-report=nobody")

    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["golden recorded: test_chat*"])
    assert "could not write the report 'nobody': UnknownName: unknown report 'nobody'" in said(result)


def test_a_plugin_gives_the_sampler_of_a_search(project):
    project.conftest(LISTENS.format(who="top"))
    project.study("SearchSpace(choice('capacity', [2, 4]))", search="by lot", subject_to={"ttft.p50": 9}, n_trials=3)

    result = project.run("-s")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["sampler for ('ttft.p50',)"])
    assert {run.fields.get("capacity") for run in project.runs()} == {None, 2, 4}


def test_old_runs_are_pruned_where_a_number_to_keep_is_given(project):
    project.suite(REGRESSION)
    for _ in range(2):
        project.run()

    project.run("--msprof-keep=2")

    assert len(project.runs()) == 2
