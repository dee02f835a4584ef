"""Other plugins beside us, and projects that do not use us: no harm, no output, no file."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import psutil
import pytest
from fake_project import REGRESSION, said

STRANGER = """
import pytest

@pytest.fixture
def record():
    return []

@pytest.fixture
def trial(record):
    return record

@pytest.fixture
def golden(trial):
    return trial

@pytest.fixture
def service(golden):
    return golden

@pytest.fixture
def workload(service):
    return service

@pytest.fixture
def benchmark_user(benchmark, workload):
    return benchmark

def test_with_fixtures_of_its_own(benchmark_user, record):
    benchmark_user(sum, range(1000))
    record.append(1)
    assert benchmark_user.stats is None or benchmark_user.stats.stats.min > 0
"""

HEAVY = ("numpy", "pydantic", "optuna", "scipy", "pandas", "tokenizers", "httptools")


def entries(path):
    return {entry["name"]: entry for entry in json.loads(path.read_text())["benchmarks"]}


@pytest.mark.parametrize("options", [["--benchmark-disable"], ["--benchmark-max-time=0.01"]])
def test_an_unrelated_project_does_not_notice(pytester, options):
    pytester.makepyfile(STRANGER)
    before = set(pytester.path.iterdir())

    results = [pytester.runpytest_subprocess("-q", *options, *more) for more in ([], ["-p", "no:msprof"])]

    for result in results:
        result.assert_outcomes(passed=1)
    shapes = [[re.sub(r"\d[\d.,]*", "N", line) for line in result.outlines] for result in results]
    if "--benchmark-disable" in options:
        assert shapes[0] == shapes[1]
    assert "msprof" not in said(results[0])
    made = set(pytester.path.iterdir()) - before
    assert not [path for path in made if "msprof" in path.name]


def test_importing_the_plugin_loads_no_heavy_library():
    code = f"import sys, pytest_msprof.plugin; print([name for name in {HEAVY} if name in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert printed.strip() == "[]"


def test_a_session_that_measures_nothing_of_ours_loads_no_heavy_library(pytester):
    pytester.makepyfile(f"import sys\ndef test_modules():\n    assert not [n for n in {HEAVY} if n in sys.modules]\n")

    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:randomly")

    result.assert_outcomes(passed=1)


TELLS = """
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        run = record(load_generator.run(next(trial.workloads()), service))
        trial.tell(run)
"""
FAILS_ONCE = """
    from pathlib import Path

    attempt = Path(f"{run.case} {run.fields}".replace("/", "-"))
    if not attempt.exists():
        attempt.touch()
        assert not "the first attempt"
"""


def test_a_rerun_tells_nothing_twice_and_its_last_attempt_counts(project):
    project.suite(REGRESSION + FAILS_ONCE, "test_chat")
    space = "SearchSpace(choice('capacity', [1, 2]), default={'capacity': 1})"
    project.study(space, body=TELLS + FAILS_ONCE, n_trials=2)

    result = project.run("--reruns=1", "--benchmark-json=out.json")

    assert result.ret == 0
    result.assert_outcomes(passed=4)
    assert "4 passed, 3 rerun" in said(result)
    assert "2 of 2 trials (2 measured)" in said(result)
    runs = [run.id for run in project.runs()]
    written = json.loads((project.path / "out.json").read_text())["msprof"]["runs"]
    assert sorted(run["id"] for run in written) == runs
    assert len(runs) == 6
    (golden,) = (project.path / ".msprof" / "golden").glob("*/golden.json")
    attempts = [run.id for run in project.runs() if "chat" in run.case]
    assert json.loads(golden.read_text())["runs"] == [attempts[-1]]


def test_a_timeout_that_ends_the_process_ends_the_engine(project):
    project.suite("""
        @pytest.mark.timeout(2, method="thread")
        def test_long(service, load_generator):
            load_generator.run(Workload(concurrency=1, num_requests=10000, warmup=0), service)
        """)

    result = project.run()

    assert result.ret == 1
    assert "Timeout" in said(result) + "".join(result.errlines)
    _, alive = psutil.wait_procs(project.engines(), timeout=30)
    assert not alive


def test_a_random_order_keeps_studies_and_repeats_in_theirs(project):
    project.suite(REGRESSION + "def test_more(service, load_generator):\n    pass\n", "test_chat")
    project.study("SearchSpace(integers('capacity', 1, 8))", n_trials=4, confirm=2)

    for seed in (1, 2, 3):
        result = project.run("--collect-only", "-q", "--msprof-repeat=3", "-p", "randomly", f"--randomly-seed={seed}")
        listed = [line.rpartition("[fake-")[2] for line in result.outlines if "::" in line]
        study = [name for name in listed if not name.startswith("repeat")]
        roles = ("winner", "runner-up", "default")
        confirmations = [f"confirm-{role}-{index}]" for index in range(2) for role in roles]
        assert study == [*(f"trial-{index}]" for index in range(4)), *confirmations, "result]"]
        assert [name for name in listed if name.startswith("repeat")] == [
            f"repeat{index}]" for index in range(3) for _ in range(2)
        ]


COUNTING = """
import psutil


class Counting(Fake):
    def run(self, run_params=None, **more):
        others = [p for p in psutil.process_iter(["cmdline"]) if self.served_model in str(p.info["cmdline"])]
        with open("others", "a") as file:
            print(len(others), file=file)
        with open("devices", "a") as file:
            print(*self.context.devices, file=file)
        super().run(run_params, **more)


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Counting)
"""


def test_workers_take_turns_at_the_device_and_the_controller_publishes(project):
    project.conftest(COUNTING)
    project.suite(REGRESSION, "test_chat")
    project.study("SearchSpace(choice('capacity', [1, 2, 4]), default={'capacity': 1})", confirm=2)

    result = project.run("-n", "2", "--benchmark-json=out.json")

    assert result.ret == 0, said(result)
    assert set((project.path / "others").read_text().split()) == {"0"}
    runs = project.runs()
    assert len({run.session_id for run in runs}) == 1
    searched = [run for run in runs if "study" in run.case][:3]
    assert sorted(run.fields["capacity"] for run in searched) == [1, 2, 4]
    assert "3 of 3 trials (3 measured)" in said(result)
    assert said(result).count("(2 launches)") == 3
    result.stdout.fnmatch_lines(["*benchmark 'ttft': 3 tests*", "golden recorded: test_chat*"])
    assert {"test_chat:ttft[fake]", "test_study:ttft[fake-winner]", "test_study:ttft[fake-default]"} < entries(
        project.path / "out.json"
    ).keys()


def test_workers_have_a_device_each_where_there_are_several(project):
    project.conftest(COUNTING)
    project.suite(REGRESSION)

    result = project.run("-n", "2", "--msprof-repeat=4", "--msprof-devices=6,7")

    assert result.ret == 0, said(result)
    assert sorted((project.path / "devices").read_text().split()) == ["6", "6", "7", "7"]


def test_repeats_of_several_workers_are_judged_together(project, monkeypatch):
    monkeypatch.setenv("FAKE_ITL", "0.005")
    project.suite(REGRESSION)
    project.run("-n", "2", "--msprof-repeat=4").assert_outcomes(passed=4)

    result = project.run("-n", "2", "--msprof-repeat=4", "--msprof-strict")

    assert result.ret == 0
    assert "test_chat[fake]: unchanged (4 launches)" in said(result)


def test_every_sample_reaches_the_json_of_pytest_benchmark_bit_for_bit(project):
    project.suite(REGRESSION)

    result = project.run("--benchmark-json=out.json")

    assert result.ret == 0
    (run,) = project.runs()
    found = entries(project.path / "out.json")
    samples = {"ttft": run.samples.ttft, "itl": run.samples.gaps, "latency": run.samples.latency}
    for metric, values in samples.items():
        assert sorted(found[f"test_chat:{metric}[fake]"]["stats"]["data"]) == sorted(values.tolist())
    assert found["test_chat:output_throughput[fake]"]["stats"]["data"] == [1 / run.output_throughput]
    assert found["test_chat:ttft[fake]"]["fullname"] == "test_suite.py::test_chat:ttft[fake]"
    assert found["test_chat:ttft[fake]"]["extra_info"]["run_ids"] == [run.id]
    whole = json.loads((project.path / "out.json").read_text())
    assert whole["msprof"]["schema_version"] == 1
    assert [entry["id"] for entry in whole["msprof"]["runs"]] == [run.id]
    assert "hz_actual" not in whole["machine_info"]["cpu"]


MIXED = REGRESSION + "\n\ndef test_plain():\n    pass\n\n\ndef test_other(benchmark):\n    benchmark(sum, [1])\n"


@pytest.mark.parametrize(
    ("options", "outcomes", "runs", "tables"),
    [
        (["-p", "no:benchmark", "-k", "not other"], {"passed": 2, "deselected": 1}, 1, False),
        (["--benchmark-only"], {"passed": 2, "skipped": 1}, 1, True),
        (["--benchmark-skip"], {"passed": 1, "skipped": 2}, 0, False),
        (["--benchmark-disable"], {"passed": 3}, 1, False),
        (["--benchmark-disable", "-n", "1"], {"passed": 3}, 1, False),
        (["--benchmark-cprofile=cumtime"], {"passed": 3}, 1, True),
    ],
)
def test_switches_of_pytest_benchmark_mean_what_they_mean(project, options, outcomes, runs, tables):
    project.suite(MIXED)

    result = project.run(*options)

    assert result.ret == 0
    result.assert_outcomes(**outcomes)
    assert len(project.runs()) == project.launches() == runs
    assert ("benchmark 'ttft': 1 tests" in said(result)) == tables
