"""Runners for real, in an environment with torch: their own tests, and the suites that users run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
OWN_TESTS = ROOT / "tests" / "runners"
SEARCHES = ROOT / "tests" / "unit" / "tuning" / "test_torch_searches.py"
PYTHON = ROOT / ".engines" / "runners" / "bin" / "python"
PLUGINS = ("pytest_msprof.plugin", "msprof_plugins", "msprof_runners")


def run_pytest(*arguments, cwd):
    """Run pytest where torch is, on these sources, and return what it said."""
    if not PYTHON.exists():
        pytest.skip("no environment for runners: python -m msprof_plugins.install_engine runners")
    sources = (ROOT, ROOT / "plugins", ROOT / "runners", ROOT / "reports")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "2",
    }
    plugins = [part for name in PLUGINS for part in ("-p", name)]
    command = [str(PYTHON), "-m", "pytest", *plugins, "-p", "no:cacheprovider", "-q", *map(str, arguments)]
    found = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False)
    return found.returncode, found.stdout + found.stderr


def test_what_runners_promise_holds_on_real_models(tmp_path):
    code, said = run_pytest(OWN_TESTS, "-m", "not slow", f"--confcutdir={OWN_TESTS}", cwd=tmp_path)
    assert code == 0, said
    assert re.search(r"\d\d passed", said)
    assert "skipped" not in said


def test_searches_that_need_torch_search_as_the_others_do(tmp_path):
    code, said = run_pytest(SEARCHES, f"--confcutdir={SEARCHES.parent}", cwd=tmp_path)
    assert code == 0, said
    assert "2 passed" in said


@pytest.mark.slow
def test_what_runners_promise_holds_where_it_takes_long_to_prove(tmp_path):
    code, said = run_pytest(OWN_TESTS, "-m", "slow", f"--confcutdir={OWN_TESTS}", cwd=tmp_path)
    assert code == 0, said


def test_the_suites_of_runners_measure_and_record(tmp_path):
    suites = ROOT / "suites" / "runners"
    code, said = run_pytest(suites, "--rootdir", tmp_path, "-c", os.devnull, "--msprof-report", "no", cwd=tmp_path)
    assert code == 0, said
    runs = [path for path in (tmp_path / ".msprof" / "runs").iterdir() if (path / "run.json").exists()]
    assert len(runs) == 4 + 3 + 2 + 2
    assert "golden recorded: test_decode[eager-1]" in said
