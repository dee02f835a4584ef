"""A launch that never comes is waited for by nobody: the verdict falls with the last that does."""

from __future__ import annotations

import pytest
from fake_project import REGRESSION


@pytest.fixture
def slower(project, monkeypatch):
    """A project whose golden runs are faster than its engine is now."""
    monkeypatch.setenv("FAKE_ITL", "0.005")
    project.suite(REGRESSION)
    project.run("--msprof-repeat=4").assert_outcomes(passed=4)
    monkeypatch.setenv("FAKE_ITL", "0.015")
    return project


def test_a_deselected_repeat_hides_no_regression(slower):
    result = slower.run("--msprof-repeat=5", "-k", "not repeat4")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1, deselected=1)


def test_a_repeat_that_crashes_hides_no_regression(slower):
    slower.conftest("""
        import pytest

        @pytest.fixture(autouse=True)
        def power_cut(request):
            if "repeat2" in request.node.name:
                raise OSError("power cut")
    """)
    result = slower.run("--msprof-repeat=5")
    result.assert_outcomes(passed=3, failed=1, errors=1)
    assert "is regressed" in result.stdout.str()


def test_an_engine_does_not_outlive_a_plugin_that_fails_after_its_start(project):
    project.suite(REGRESSION)
    project.conftest("""
        def pytest_msprof_update_environment(environment, service):
            raise OSError("no thermometer")
    """)
    project.run().assert_outcomes(errors=1)
    assert project.engines() == []
