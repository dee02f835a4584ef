"""What a user mistypes ends the collection: exit code 4, one line with the nearest names, nothing started."""

from __future__ import annotations

import pytest
from fake_project import REGRESSION, said

TUNE = """
@pytest.mark.tune({arguments})
def test_study(trial, launch_service, load_generator, record):
    pass
"""
GOOD = "SearchSpace(integers('capacity', 1, 8))"
REST = "workload=LOAD, objective='output_throughput', n_trials=2"


def refused(project, *args, run=None):
    """Run pytest and return the one line it ends with."""
    result = (run or project.collect)(*args)
    lines = [line for line in result.errlines + result.outlines if line.startswith("ERROR: ")]
    assert result.ret == pytest.ExitCode.USAGE_ERROR, said(result)
    assert len(lines) == 1, lines
    assert "Traceback" not in said(result)
    assert "INTERNALERROR" not in said(result)
    assert not (project.path / ".msprof").exists()
    return lines[0].removeprefix("ERROR: msprof: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--msprof-engine=fakes"], "unknown engine 'fakes' (known: external, fake, "),
        (["--msprof-load=builtins"], "unknown benchmark 'builtins' (known: "),
        (["--msprof-repeat=0"], "--msprof-repeat needs a whole number from 1, but got 0"),
        (["--msprof-keep=0"], "--msprof-keep needs a whole number from 1, but got 0"),
        (["--msprof-concurrency=1,many"], "--msprof-concurrency needs whole numbers from 1, such as 1,8,64, but got"),
        (["--msprof-devices=3-1"], "devices '3-1': '3-1' is neither a device"),
        (["--msprof-model=./nowhere"], "no model in './nowhere': give --msprof-model a folder"),
        (["--msprof-config=nowhere.toml"], "nowhere.toml"),
        (["--msprof-base-url=localhost:8000", "--msprof-engine=external"], "http:// or https://"),
        (["--msprof-base-url=http://127.0.0.1:1", "--msprof-engine=fake"], "'external', but --msprof-engine says fake"),
        (["-o", "msprof_repeat=often"], "--msprof-repeat needs a whole number from 1, but got 'often'"),
    ],
)
def test_an_option_that_cannot_be_used_ends_the_collection(project, options, message):
    project.suite(REGRESSION)

    assert message in refused(project, *options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{GOOD}, workload=LOAD, objective='output_troughput', n_trials=2", "did you mean 'output_throughput'"),
        (
            f"{GOOD}, {REST}, subject_to={{'ttft': 0.2}}",
            "'ttft' is a distribution: name a statistic, such as 'ttft.p50'",
        ),
        (f"{GOOD}, {REST}, subject_to={{'ttft.p50': 'fast'}}", "needs a limit above 0 for 'ttft.p50', but got 'fast'"),
        (f"{GOOD}, {REST}, subject_to={{'ttft.p99': 0.2}}", "ttft.p99 needs 100 requests, but the workload sends 8"),
        (f"{GOOD}, {REST}, trials=2", "unknown argument of tune 'trials'"),
        (f"{GOOD}, {REST}, load='sweeping'", "unknown load mode 'sweeping'"),
        (f"{GOOD}, {REST}, search='anneal'", "unknown search 'anneal' (known: auto, "),
        (f"{GOOD}, workload=LOAD, objective='output_throughput', n_trials=0", "n_trials as a whole number from 1"),
        (f"{GOOD}, workload=LOAD", "tune needs n_trials, objective"),
        (
            "workload=LOAD, objective='output_throughput', n_trials=2",
            "tune needs one SearchSpace as its first argument",
        ),
        (f"SearchSpace(integers('capacitee', 1, 8)), {REST}", "did you mean 'capacity'"),
    ],
)
def test_a_study_that_cannot_be_run_ends_the_collection(project, arguments, message):
    project.suite(TUNE.format(arguments=arguments))

    assert message in refused(project)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("SearchSpace(integers('capacity', 8, 1))", "capacity"),
        ("SearchSpace(integers('capacity', 1, 8), default={'capacity': 9})", "capacity"),
        ("SearchSpace(integers('capacity', 1, 8), where=['capacitee > 1'])", "capacitee"),
    ],
)
def test_a_space_that_contradicts_itself_ends_the_collection(project, space, message):
    project.suite(f"SPACE = {space}\n")

    found = refused(project)

    assert message in found
    assert found.startswith("test_suite.py:6: ")


def test_a_metric_of_a_tolerance_that_nobody_knows_ends_the_collection_in_a_worker_too(project):
    project.suite("TOLERANCE = Tolerance({'ttft.p5O': 0.1})\n")

    for options in ([], ["-n", "2"]):
        assert "did you mean 'p95' or 'p50'" in refused(project, *options, run=project.run)

    result = project.run("--continue-on-collection-errors")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_option_of_ours_that_is_mistyped_is_refused_with_the_nearest_and_another_plugins_is_not(project):
    project.suite(REGRESSION)

    with pytest.raises(pytest.UsageError, match=r"unknown option '--msprof-engne' .*did you mean '--msprof-engine'"):
        project.pytester.parseconfig("--msprof-engne=fake")

    project.conftest("def pytest_addoption(parser):\n    parser.addoption('--msprof-mine')\n")
    assert project.pytester.parseconfig("--msprof-mine=1").getoption("--msprof-mine") == "1"


def test_a_trial_without_a_study_and_a_study_without_a_trial_are_refused(project):
    project.suite("def test_study(trial):\n    pass\n")
    assert refused(project).endswith("test_study needs a tune mark: a study is a test with both")

    project.suite(f"@pytest.mark.tune({GOOD}, {REST})\ndef test_study(record):\n    pass\n")
    assert refused(project).endswith("test_study needs the `trial` fixture: a study is a test with both")


def test_a_broken_plugin_is_named_and_stops_only_those_who_need_it(project, monkeypatch):
    site = project.path / "site"
    folder = site / "broken_engine-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-engine\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[pytest_msprof.plugins]\nbroken = broken_engine:register\n")
    (site / "broken_engine.py").write_text("def register():\n    raise RuntimeError('no driver')\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    project.suite(REGRESSION)

    message = refused(project, "--msprof-engine=broken", run=project.run)
    assert "unknown engine 'broken'" in message
    assert "broken-engine" in message
    assert "RuntimeError: no driver" in message

    result = project.run()
    result.assert_outcomes(passed=1, warnings=1)
    assert "broken-engine" in said(result)


INVALID = """
from pytest_msprof import LoadGenerator, SimulatorInterface

class Invalid(SimulatorInterface):
    base_url = "http://127.0.0.1:1/health"

    def __init__(self, *args, **options):
        raise ValueError("Settings is invalidator.")

    def update_command(self):
        pass

class InvalidLoad(LoadGenerator):
    def __init__(self):
        raise ValueError("Settings is invalidator.")

    def generate(self, job):
        pass

def pytest_msprof_register_simulators(registry):
    registry.simulators.add("invalid", Invalid)

def pytest_msprof_register_benchmarks(registry):
    registry.benchmarks.add("invalid", InvalidLoad)
"""


def test_a_storage_of_studies_that_cannot_be_opened_ends_the_collection(project):
    project.suite(TUNE.format(arguments=f"{GOOD}, {REST}"))

    message = refused(project, "--msprof-study=foo://bar", run=project.run)  # SQLAlchemy cannot be imported twice

    assert "the storage 'foo://bar' of --msprof-study cannot be opened" in message


@pytest.mark.parametrize("option", ["--msprof-engine=invalid", "--msprof-load=invalid"])
def test_a_plugin_that_cannot_be_made_is_named_with_what_it_says(project, option):
    project.conftest('pytest_plugins = ["mine"]')
    (project.path / "mine.py").write_text(INVALID)
    project.suite(TUNE.format(arguments=f"{GOOD}, {REST}"))

    message = refused(project, option)

    assert "of 'mine' cannot be made: ValueError: Settings is invalidator." in message


@pytest.mark.parametrize("option", ["--msprof-engine=fakes", "--msprof-repeat=0"])
def test_workers_leave_a_usage_error_to_the_controller(project, option):
    project.suite(REGRESSION)

    assert refused(project, "-n", "2", option, run=project.run)


def test_options_of_ours_mean_nothing_to_tests_that_are_not(project):
    project.suite("def test_nothing():\n    pass\n")

    result = project.run("--msprof-repeat=0", "--msprof-engine=fakes")

    assert result.ret == 0
    assert not (project.path / ".msprof").exists()


def test_a_study_on_slots_that_differ_is_refused(project):
    project.study(GOOD)

    line = refused(project, "--msprof-devices=0-1,2", run=project.run)

    assert line.startswith("a study compares what ran on equal devices, but the slots of --msprof-devices are ")
