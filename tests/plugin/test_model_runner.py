"""The fixture `model_runner`: a registered runner, kept while settings are equal, whose runs are recorded like any."""

from __future__ import annotations

import pytest

CONFTEST = """
import numpy as np
import pytest
from datetime import UTC, datetime

from pytest_msprof import Run, Sample, Samples, Workload, measure
from pytest_msprof.ids import new_id
from pytest_msprof.series import Series


class Counting:
    made = []

    def __init__(self, runner_settings):
        self.settings, self.launch_id = runner_settings, new_id()
        self.made.append(self)
        self.state = "new"

    def init_model(self):
        self.state = "loaded"

    def close(self):
        self.state = "closed"

    def model_generate(self, prompts):
        samples = Samples.of([Sample(0.0, 0.0, ttft=0.5, latency=1.0, output_tokens=6) for _ in prompts])
        found = measure(samples, 1.0)
        workload = Workload(concurrency=len(prompts), num_requests=len(prompts))
        run = Run.of(
            found, id=new_id(), launch_id=self.launch_id, engine="runner", workload=workload,
            workload_hash=workload.hash(), started_at=datetime.now(UTC),
        )
        return run.with_series({"decode_step": Series(np.zeros(1), np.ones(1))})


@pytest.hookimpl
def pytest_msprof_register_runners(registry):
    registry.runners.add("counting", Counting)


@pytest.fixture
def runner_settings():
    return {"runner": "counting", "model_name": "none"}
"""


@pytest.fixture
def runners(pytester):
    pytester.makeconftest(CONFTEST)
    return pytester


def test_runs_of_a_runner_are_recorded_with_their_case_and_become_golden(runners):
    runners.makepyfile(
        """
        from pytest_msprof import Tolerance, compare

        def test_decode(model_runner, record, golden):
            run = record(model_runner.model_generate(["a", "b"]))
            assert run.case == "test_runs_of_a_runner_are_recorded_with_their_case_and_become_golden.py::test_decode"
            assert run.session_id and run.tpot.p50 == 0.1
            compare(run, golden.runs, Tolerance({"ttft.p50": 0.05})).raise_for_regression()
            print("golden", len(golden.runs))
        """
    )
    first = runners.runpytest_subprocess("-s")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["*golden 0*", "*golden recorded: test_decode*"])
    second = runners.runpytest_subprocess("-s")
    second.stdout.fnmatch_lines(["*golden 1*"])
    runs = [path for path in (runners.path / ".msprof" / "runs").iterdir() if not path.name.startswith(".")]
    assert all((path / "run.json").exists() and (path / "samples.msb").exists() for path in runs)


def test_a_runner_is_kept_for_equal_settings_and_closed_for_others(runners):
    runners.makepyfile(
        """
        import pytest

        @pytest.fixture(params=["eager", "eager", "ge_graph"])
        def runner_settings(request, runner_settings):
            return {**runner_settings, "exe_mode": request.param}

        def test_mode(model_runner, record, runner_settings):
            record(model_runner.model_generate(["a"]))
            assert model_runner.state == "loaded" and model_runner.settings == runner_settings
            states = [runner.state for runner in model_runner.made]
            print("states", states)
        """
    )
    found = runners.runpytest_subprocess("-s")
    found.assert_outcomes(passed=3)
    found.stdout.fnmatch_lines(["*'loaded'?*", "*'loaded'?*", "*'closed', 'loaded'?*"])


def test_a_runner_that_dies_fails_its_test_alone_and_the_next_one_has_another(runners):
    runners.makepyfile(
        """
        from pytest_msprof.errors import OutOfMemory, ServiceExited

        def test_before(model_runner, record):
            record(model_runner.model_generate(["a"]))

        def test_too_large(model_runner):
            model_runner.is_loaded = True
            raise OutOfMemory("a batch does not fit")

        def test_that_dies(model_runner):
            assert len(model_runner.made) == 1
            model_runner.is_loaded = False
            raise ServiceExited("rank 1 was ended by SIGKILL")

        def test_after(model_runner, record):
            record(model_runner.model_generate(["a"]))
            assert [runner.state for runner in model_runner.made] == ["closed", "loaded"]
        """
    )
    found = runners.runpytest_subprocess("-p", "no:randomly", "--msprof-report", "no")
    found.assert_outcomes(passed=2, failed=2)
    found.stdout.fnmatch_lines(["*a batch does not fit*", "*rank 1 was ended by SIGKILL*"])
    assert len([path for path in (runners.path / ".msprof" / "runs").iterdir() if (path / "run.json").exists()]) == 2


def test_repeats_are_launches_of_their_own(runners):
    runners.makepyfile(
        """
        def test_decode(model_runner, record):
            run = record(model_runner.model_generate(["a"]))
            print("launches", len({other.launch_id for other in run.repeats}), "repeat", run.repeat)
        """
    )
    found = runners.runpytest_subprocess("-s", "--msprof-repeat", "2")
    found.assert_outcomes(passed=2)
    found.stdout.fnmatch_lines(["*launches 1 repeat 0*", "*launches 2 repeat 1*"])


def test_a_run_is_recorded_once(runners):
    runners.makepyfile(
        """
        def test_decode(model_runner, record):
            run = model_runner.model_generate(["a"])
            record(run)
            record(run)
        """
    )
    found = runners.runpytest_subprocess()
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*a run is written once*"])


def test_a_runner_that_nobody_registered_is_named(runners):
    runners.makepyfile(
        """
        import pytest

        @pytest.fixture
        def runner_settings():
            return {"runner": "countin"}

        def test_decode(model_runner, record):
            pass
        """
    )
    found = runners.runpytest_subprocess()
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*unknown runner 'countin'*counting*"])


def test_without_a_model_the_plain_fixture_skips_and_says_so(pytester):
    pytester.makepyfile("def test_decode(model_runner, record): pass")
    found = pytester.runpytest_subprocess("-rs")
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*no model was chosen: give --msprof-model PATH*"])
