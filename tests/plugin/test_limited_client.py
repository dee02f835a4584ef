"""Where the client was the bottleneck, a session says so and judges nothing by it."""

from __future__ import annotations

import pytest
from fake_project import BODY, REGRESSION, said

LIMITED = """
from dataclasses import replace

from msprof_plugins.load import StreamingLoad


class Limited(StreamingLoad):
    def generate(self, job):
        return replace(super().generate(job), client_limited="its event loop used 97% of a core")


def pytest_msprof_register_benchmarks(registry):
    registry.benchmarks.add("limited", Limited)
"""
SPACE = "SearchSpace(choice('capacity', [1, 4]), default={'capacity': 1})"


@pytest.mark.parametrize("pace", ["0.001", "0.02"])
def test_a_limited_run_is_neither_regressed_nor_unchanged(project, monkeypatch, pace):
    project.conftest(LIMITED)
    project.suite(REGRESSION, "test_chat")
    assert project.run().ret == 0
    monkeypatch.setenv("FAKE_ITL", pace)

    result = project.run("--msprof-load=limited")

    assert result.ret == 1
    why = project.reports()["test_chat[fake]"].why
    assert "the client was the bottleneck in 1 of 1 current runs: its event loop used 97% of a core" in why
    assert "regressed" not in why


def test_a_study_that_was_measured_by_a_limited_client_has_no_verdict(project):
    project.conftest(LIMITED)
    project.study(SPACE, body=BODY, n_trials=2, confirm=1)

    result = project.run("--msprof-load=limited")

    assert "no verdict; the client was the bottleneck" in said(result)
