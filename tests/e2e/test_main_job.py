"""The main job on a real engine: load it, tune it, confirm the winner, compare, report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.transformers_serve import TransformersSimulator
from pytest_msprof.errors import EngineNotInstalled
from pytest_msprof.tiny_models import make_model

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
STUDY = """
import pytest
from pytest_msprof import SearchSpace, Workload, choice, constant, integers

SPACE = SearchSpace(
    choice("continuous_batching", [False, True]),
    constant("num_blocks", 32, when="continuous_batching"),
    integers("batch_tokens", 64, 1024, log=True, when="continuous_batching"),
    default={"continuous_batching": False},
)
CHAT = Workload(input_tokens=64, output_tokens=32, concurrency=16, num_requests=32)


@pytest.mark.tune(SPACE, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 60}, n_trials=6, seed=1)
def test_batching(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
"""


@pytest.fixture(scope="module")
def python():
    try:
        return find_interpreter(TransformersSimulator.engine, rootdir=ROOT).python
    except EngineNotInstalled as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def project(tmp_path_factory, python):
    folder = tmp_path_factory.mktemp("project")
    make_model("tiny-qwen2", folder / "models" / "tiny-qwen2")
    shutil.copy(ROOT / "suites" / "test_serving.py", folder)
    (folder / "test_tuning.py").write_text(STUDY)
    (folder / "pytest.ini").write_text("[pytest]\nmsprof_engine = transformers\nmsprof_model = models/tiny-qwen2\n")
    return folder


@pytest.fixture
def suites(project, python, monkeypatch):
    monkeypatch.setenv("MSPROF_TRANSFORMERS_PYTHON", str(python))

    def run(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=project, text=True, capture_output=True, check=False)

    return run


def test_a_study_finds_that_batching_pays_and_names_the_command(suites, project):
    ended = suites("test_tuning.py", "--junitxml", "junit.xml", "--benchmark-json", "benchmark.json")
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert any(line.startswith("best:") and "continuous_batching=True" in line for line in lines), ended.stdout
    command = " ".join(line.removesuffix("\\").strip() for line in lines[lines.index("run it:") + 1 :]).partition(
        "report:"
    )[0]
    assert "transformers serve" in command
    assert "--continuous-batching" in command
    written = [line.removeprefix("report: ") for line in lines if line.startswith("report: ")]
    assert {Path(name).suffix for name in written} == {".html", ".xlsx"}
    assert all((project / name).stat().st_size > 5000 for name in written)
    entries = {
        entry["name"]: entry["stats"] for entry in json.loads((project / "benchmark.json").read_text())["benchmarks"]
    }
    period = "test_batching:output_throughput[transformers-{}]"
    winner = next(entries[name] for role in ("winner", "runner-up") if (name := period.format(role)) in entries)
    assert winner["median"] < entries[period.format("default")]["median"] / 1.5


def test_the_suite_compares_with_the_session_that_came_first(suites):
    first = suites("test_serving.py", "-k", "16")
    assert first.returncode == 0, first.stdout
    assert "golden recorded: test_chat[transformers-16]" in first.stdout
    second = suites("test_serving.py", "-k", "16")
    assert second.returncode == 0, second.stdout
    assert "output_throughput" in second.stdout
    assert "a verdict needs 4 launches a side" in second.stdout
