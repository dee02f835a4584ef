"""The two suites that the documentation shows first do what it says they do."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from fake_project import said

SUITES = """
import pytest
from pytest_msprof import SearchSpace, Tolerance, Workload, choice, compare, floats, integers

SPACE = SearchSpace(
    choice("continuous_batching", [False, True]),
    integers("num_blocks", 8, 128, log=True, when="continuous_batching"),
    integers("batch_tokens", 16, 1024, log=True, when="continuous_batching"),
    choice("dtype", ["bfloat16", "float32"]),
    default={"continuous_batching": False},             # missing ones: the engine's own default, recorded as such
    where=["num_blocks * 256 >= batch_tokens"],          # checked before a start, costs no trial
)
CHAT = Workload(input_tokens=64, output_tokens=64, concurrency=16, num_requests=48)
TOLERANCE = Tolerance({"output_throughput": 0.05, "ttft.p50": 0.10, "tpot.p50": 0.05})

@pytest.mark.tune(SPACE, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 0.200}, n_trials=12, seed=7)
def test_batching(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))

@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_chat(service, load_generator, record, golden, concurrency):
    run = record(load_generator.run(Workload(concurrency=concurrency), service))
    assert run.success_rate == 1
    compare(run, golden.runs, TOLERANCE).raise_for_regression()
"""  # noqa: E501 - as the documentation shows it

BATCHING = """
class Batching(Fake):
    FIELDS = tuple(
        OptimizerConfigField(name=name, value=None)
        for name in ("continuous_batching", "num_blocks", "batch_tokens", "dtype")
    )

    def update_command(self):
        given = {entry.name: entry.value for entry in self.data_field if entry.value is not None}
        behaviour = {
            **self.behaviour,
            "itl": 0.0004 if given.get("dtype") == "float32" else 0.0002,
            "tokens_per_event": 8,
            "capacity": given["num_blocks"] // 8 if given.get("continuous_batching") else 1,
        }
        self.command = fake_command(self.context.port, **behaviour)


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Batching)
"""


@pytest.fixture
def suites(project):
    project.conftest(BATCHING)
    project.pytester.makepyfile(test_suites=SUITES)
    return project


def test_the_plan_of_a_study_shows_before_anything_runs(suites):
    result = suites.run("--collect-only", "-q")

    trials = [f"test_suites.py::test_batching[fake-trial-{index}]" for index in range(12)]
    roles = ("winner", "runner-up", "default")
    confirmations = [
        f"test_suites.py::test_batching[fake-confirm-{role}-{index}]" for index in range(4) for role in roles
    ]
    cases = [f"test_suites.py::test_chat[fake-{concurrency}]" for concurrency in (1, 4, 16)]
    listed = [line for line in result.outlines if "::" in line]
    assert listed == [*trials, *confirmations, "test_suites.py::test_batching[fake-result]", *cases]
    assert not (suites.path / ".msprof").exists()


def test_a_study_names_a_winner_that_fresh_launches_confirmed(suites):
    result = suites.run("-k", "batching", "-v")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*[[]fake-trial-0[]]*", "*[[]fake-trial-11[]]*", "*[[]fake-confirm-winner-0[]]*", "*[[]fake-result[]] PASSED*"]
    )
    result.stdout.fnmatch_lines(["study test_batching*12 of 12 trials*", "best: *continuous_batching=True*"])
    assert re.search(r"verdict: continuous_batching=True .* output_throughput \+.* \(95 % interval \+", said(result))
    result.stdout.fnmatch_lines(["run it:", "*fake_server.py*"])
    runs = suites.runs()
    assert runs[0].fields == {"continuous_batching": False}
    measured = Counter(run.case for run in runs)
    assert measured.keys() == {"test_suites.py::test_batching[fake]"}
    assert len({run.launch_id for run in runs}) == len(runs) == suites.launches()


def test_one_launch_serves_every_concurrency_and_the_first_session_becomes_golden(suites):
    first = suites.run("-k", "chat")

    assert first.ret == 0
    first.assert_outcomes(passed=3, deselected=25)
    first.stdout.fnmatch_lines(["golden recorded: test_chat*"])
    assert [run.workload.concurrency for run in suites.runs()] == [1, 4, 16]
    assert len({run.launch_id for run in suites.runs()}) == suites.launches() == 1

    second = suites.run("-k", "chat")

    assert second.ret == 0
    second.stdout.no_fnmatch_line("*golden recorded*")
    second.stdout.fnmatch_lines(["test_chat[[]fake-1[]]: descriptive (1 launch)", "*output_throughput*1+1*"])
    second.stdout.fnmatch_lines(["*ComparisonWarning*is descriptive*"])


def test_a_hook_launches_a_service_with_the_fields_and_the_context_of_the_launch(project):
    project.conftest(
        """
        from pytest_msprof.readiness import wait_until_ready
        from pytest_msprof.service import Service, answers

        def pytest_msprof_launch_service(simulator, item):
            fields = {entry.name: entry.value for entry in simulator.data_field if entry.value is not None}
            simulator.update_command()
            simulator.run()
            wait_until_ready(simulator.process, lambda: answers(simulator.base_url), timeout=30)
            where = simulator.root_url, simulator.served_model
            return Service("fake", simulator, *where, fields, simulator.context.folder)
        """
    )
    project.suite(
        """
        @pytest.fixture
        def service_fields():
            return {"capacity": 2}


        def test_load(service, load_generator, record):
            record(load_generator.run(LOAD, service))
        """
    )
    project.run().assert_outcomes(passed=1)
    (run,) = project.runs()
    assert run.fields == {"capacity": 2}
    assert project.engines() == []


def test_a_service_that_a_hook_calls_unready_is_asked_about_until_it_is_ready(project):
    project.conftest(
        """
        asked = []

        def pytest_msprof_service_ready(service):
            asked.append(service.base_url)
            return len(asked) > 2

        def pytest_msprof_terminal_lines(summary):
            return [f"asked {len(asked)} times"]
        """
    )
    project.suite(
        """
        def test_load(service, load_generator, record):
            record(load_generator.run(LOAD, service))
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["asked 3 times"])
