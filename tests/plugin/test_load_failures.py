"""An engine that runs and answers nothing is found out by its log, too."""

from __future__ import annotations

from fake_project import BODY, REGRESSION

TALKS = """
class Talking(Fake):
    def update_command(self):
        super().update_command()
        serve = " ".join(self.command)
        self.command = ["sh", "-c", f"echo 'the scheduler is stuck' >&2; exec {serve} --fail-every=1 --fail-after=1"]


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Talking)
"""


def test_a_load_that_nobody_answers_shows_the_log_of_the_engine(project):
    project.suite(REGRESSION, "test_chat")
    project.study("SearchSpace(choice('capacity', [1, 2]), default={'capacity': 1})", body=BODY, n_trials=1)
    project.conftest(TALKS)

    project.run()

    reports = project.reports()
    assert reports["test_chat[fake]"].outcome == "failed"
    assert reports["test_study[fake-trial-0]"].outcome == "skipped"
    for name in ("test_chat[fake]", "test_study[fake-trial-0]"):
        assert "none of 8 requests" in reports[name].why
        assert "the scheduler is stuck" in reports[name].sections["engine log"]
