"""A secret that pytest is given reaches no file and no terminal."""

from __future__ import annotations

import zipfile
from pathlib import Path

from fake_project import REGRESSION

from pytest_msprof.testing import FakeEngine

SECRET = "s3cr3t-0f-th3-h0us3"

TELLTALE = """
class Telltale(Fake):
    def update_command(self):
        super().update_command()
        self.env["ENGINE_TOKEN"] = os.environ["FOO_API_KEY"]
        if "--exit-at-start=3" in self.command:
            self.command = ["sh", "-c", "echo key $FOO_API_KEY and $ENGINE_TOKEN refused; exit 3"]
        else:
            self.command += ["--api-key", os.environ["FOO_API_KEY"]]
        self.api_key = os.environ["FOO_API_KEY"]


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Telltale)
"""


def leaks(project, *results):
    """Return where the secret stands: files, in archives too, and what pytest printed."""
    found = [path for path in project.path.rglob("*") if path.is_file() and SECRET.encode() in content(path)]
    return [*found, *(line for result in results for line in result.outlines + result.errlines if SECRET in line)]


def content(path: Path) -> bytes:
    if path.suffix != ".xlsx":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def test_a_secret_of_the_environment_stays_there(project, monkeypatch):
    monkeypatch.setenv("FOO_API_KEY", SECRET)
    project.study("SearchSpace(choice('fault', ['', 'exits']), default={'fault': ''})", n_trials=2, confirm=1)
    project.suite(REGRESSION, "test_chat")
    project.conftest(TELLTALE)

    result = project.run("--msprof-report=html", "--msprof-report=xlsx", "--benchmark-json=out.json", "-v")

    assert result.ret == 0
    assert len(project.runs()) == 3
    assert "***" in project.reports()["test_study[fake-trial-1]"].why
    assert len(list((project.path / ".msprof" / "reports").rglob("report.*"))) == 2
    assert leaks(project, result) == []


def test_secrets_of_a_service_that_runs_elsewhere_stay_with_it(project, monkeypatch):
    monkeypatch.setenv("MSPROF_API_KEY", SECRET)
    project.suite(REGRESSION)
    project.study("SearchSpace(integers('CONCURRENCY', 1, 8))", n_trials=1, name="test_load")
    with FakeEngine(model=project.model, api_key=SECRET) as engine:
        url = engine.base_url.replace("http://", f"http://user:{SECRET}@")
        result = project.run(f"--msprof-base-url={url}", "--msprof-report=html", "--benchmark-json=out.json")

    assert result.ret == 0
    assert len(project.runs()) == 2
    assert leaks(project, result) == []
