"""A benchmark of the seed's interface, a program with a result, gives runs like any load generator."""

from __future__ import annotations

import pytest
from fake_project import BODY, said

BENCHMARK = """
import sys

from pytest_msprof import BenchmarkInterface, PerformanceIndex

PROGRAM = '''
import json, os, sys, urllib.request
url, result, requests, clients, rate = sys.argv[1:]
assert os.environ["MAXCONCURRENCY"] == clients
with urllib.request.urlopen(url) as answer:
    assert answer.status == 200
if os.environ.get("BENCHMARK_FAILS"):
    sys.exit("the data set is missing")
with open(result, "w") as file:
    json.dump({"requests": int(requests), "clients": int(clients), "rate": rate}, file)
'''


class Program(BenchmarkInterface):
    def prepare(self):
        self.result = self.bak_path / "result.json"

    def update_command(self):
        self.command = [
            sys.executable, "-c", PROGRAM, self.context.base_url + "/health", str(self.result), str(self.num_prompts),
            "$CONCURRENCY", os.environ.get("RATE", "none"),
        ]

    def check_success(self):
        return self.result.exists()

    def get_performance_index(self):
        found = json.loads(self.result.read_text())
        return PerformanceIndex(
            generate_speed=100.0 * found["clients"], time_to_first_token=0.25, success_rate=1.0, throughput=12.5
        )


def pytest_msprof_register_benchmarks(registry):
    registry.benchmarks.add("program", Program)
"""


@pytest.fixture
def programmed(project):
    project.conftest(BENCHMARK)
    return project


def test_a_program_gives_a_run(programmed):
    programmed.suite("""
        def test_chat(service, load_generator, record, golden):
            run = record(load_generator.run(LOAD, service))
            assert run.output_throughput == 400
            assert run.request_throughput == 12.5
            assert run.ttft.mean == 0.25
            assert run.success_rate == 1
            assert "means only" in run.notes[0]
            with pytest.raises(Exception, match="no statistic 'p50'"):
                run.ttft.p50
            compare(run, golden.runs, Tolerance({"output_throughput": 0.05})).raise_for_regression()
        """)

    result = programmed.run("--msprof-load=program", "--benchmark-json=out.json")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["golden recorded: test_chat*"])
    (run,) = programmed.runs()
    assert run.load_generator == "program"
    assert run.samples is None
    assert (programmed.path / ".msprof" / "runs" / run.id / "result.json").exists()


def test_a_program_tunes_the_load_without_a_restart(programmed):
    programmed.study("SearchSpace(integers('MAXCONCURRENCY', 1, 4), default={'MAXCONCURRENCY': 2})", body=BODY)

    result = programmed.run("--msprof-load=program")

    result.assert_outcomes(passed=4)
    assert programmed.launches() == 1
    assert all(run.output_throughput == 100 * run.workload.concurrency for run in programmed.runs())


def test_a_program_that_fails_fails_its_test_with_its_last_words(programmed, monkeypatch):
    monkeypatch.setenv("BENCHMARK_FAILS", "1")
    programmed.suite("def test_chat(service, load_generator):\n    load_generator.run(LOAD, service)\n")

    result = programmed.run("--msprof-load=program")

    result.assert_outcomes(failed=1)
    assert "LoadError: Program ended with exit code 1: the data set is missing" in said(result)
    assert not programmed.runs()
