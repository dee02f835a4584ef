"""Our own plugins pass the suites that we give to plugin authors, and plugins with a fault do not."""

from __future__ import annotations

import json
import sys

import pytest

from msprof_plugins.load import StreamingLoad
from pytest_msprof import BenchmarkInterface, PerformanceIndex
from pytest_msprof.testing import BenchmarkConformance, FakeSimulator, SimulatorConformance


class TestFakeSimulator(SimulatorConformance):
    @pytest.fixture
    def simulator_class(self):
        return FakeSimulator

    @pytest.fixture
    def fields(self):
        return {"capacity": 4, "itl": 0.001}


class TestStreamingLoad(BenchmarkConformance):
    @pytest.fixture
    def benchmark_class(self):
        return StreamingLoad


PROGRAM = """
import json, sys, time, urllib.request
from concurrent.futures import ThreadPoolExecutor

url, number, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
body = json.dumps({"model": "fake", "prompt": "Hello", "max_tokens": 8}).encode()

def ask(_):
    try:
        with urllib.request.urlopen(url + "/v1/completions", body) as answer:
            return json.load(answer)["usage"]["completion_tokens"]
    except OSError:
        return 0

begin = time.monotonic()
with ThreadPoolExecutor(concurrency) as threads:
    tokens = list(threads.map(ask, range(number)))
print(json.dumps({"tokens": tokens, "seconds": time.monotonic() - begin}))
"""


class Program(BenchmarkInterface):
    def update_command(self):
        address = self.context.base_url
        self.command = [sys.executable, "-c", PROGRAM, address, str(self.num_prompts), "$CONCURRENCY"]

    def get_performance_index(self):
        found = json.loads(self.get_last_log(1))
        answered = sum(1 for tokens in found["tokens"] if tokens)
        return PerformanceIndex(
            generate_speed=sum(found["tokens"]) / found["seconds"], success_rate=answered / self.num_prompts
        )


class TestProgramThatAsksItsContextWhereTheEngineIs(BenchmarkConformance):
    @pytest.fixture
    def benchmark_class(self):
        return Program


def outcome(pytester, suite: str) -> dict[str, int]:
    pytester.makepyfile(suite)
    return pytester.runpytest("-p", "no:cacheprovider").parseoutcomes()


def test_a_generator_that_reports_milliseconds_fails(pytester):
    found = outcome(
        pytester,
        """
        import dataclasses
        import pytest
        from msprof_plugins.load import StreamingLoad
        from pytest_msprof.results import Distribution
        from pytest_msprof.testing import BenchmarkConformance

        class InMilliseconds(StreamingLoad):
            def generate(self, job):
                found = super().generate(job)
                slow = Distribution({name: value * 1000 for name, value in found.distributions["ttft"].root.items()})
                return dataclasses.replace(found, distributions={**found.distributions, "ttft": slow})

        class TestIt(BenchmarkConformance):
            @pytest.fixture
            def benchmark_class(self):
                return InMilliseconds
        """,
    )
    assert found == {"passed": 3, "failed": 1}


def test_a_simulator_that_adds_to_its_command_each_time_fails(pytester):
    found = outcome(
        pytester,
        """
        import pytest
        from pytest_msprof.testing import FakeSimulator, SimulatorConformance

        class Growing(FakeSimulator):
            def update_command(self):
                old = list(self.command or ())
                super().update_command()
                self.command += old[-1:]

        class TestIt(SimulatorConformance):
            @pytest.fixture
            def simulator_class(self):
                return Growing
        """,
    )
    assert found == {"passed": 7, "failed": 1}


def test_a_generator_that_hides_failures_fails(pytester):
    found = outcome(
        pytester,
        """
        import dataclasses
        import pytest
        from msprof_plugins.load import StreamingLoad
        from pytest_msprof.testing import BenchmarkConformance

        class Rosy(StreamingLoad):
            def generate(self, job):
                return dataclasses.replace(super().generate(job), failed=0)

        class TestIt(BenchmarkConformance):
            @pytest.fixture
            def benchmark_class(self):
                return Rosy
        """,
    )
    assert found == {"passed": 3, "failed": 1}
