"""What a person gets who installs the wheel: the command, the suites, and a first run."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PATIENCE = 300
ENGINE = """
import sys
from pytest_msprof.testing import FakeEngine

with FakeEngine() as engine:
    print(engine.base_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the wheel into an environment of its own, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True, timeout=PATIENCE)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", packages, wheel], check=True, timeout=PATIENCE)
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "python"


def run(python, folder, *command):
    return subprocess.run(
        [python, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_the_wheel_brings_what_its_first_user_needs(installed, tmp_path):
    where = run(installed, tmp_path, "pytest_msprof.cli", "init", "suites")
    assert where.returncode == 0, where.stderr
    assert {path.name for path in (tmp_path / "suites").glob("test_*.py")} >= {"test_serving.py", "test_tuning.py"}

    listed = run(installed, tmp_path, "pytest", "suites", "--collect-only", "-q", "--msprof-engine", "fake")

    assert "unknown engine 'fake' (known: external, runner, transformers, triton, vllm" in listed.stderr
    assert listed.returncode == pytest.ExitCode.USAGE_ERROR


def test_a_suite_runs_on_a_service_from_the_wheel_alone(installed, tmp_path):
    run(installed, tmp_path, "pytest_msprof.cli", "init", "suites")
    with subprocess.Popen(
        [installed, "-c", ENGINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        url = service.stdout.readline().strip()
        done = run(installed, tmp_path, "pytest", "suites/test_serving.py", "--msprof-base-url", url)
        service.stdin.close()

    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert list((tmp_path / ".msprof" / "reports").glob("*/report.html"))
    assert str(ROOT) not in done.stdout
