"""What `vllm bench serve` promises when we run it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.tools.vllm_benchmark import VllmBenchmark
from msprof_plugins.vllm import VLLM
from pytest_msprof.errors import ConfigurationError, EngineNotInstalled, LoadError, UnknownName
from pytest_msprof.interfaces import LaunchContext, LoadJob, Target
from pytest_msprof.process import EngineProcess
from pytest_msprof.requests import prompts
from pytest_msprof.testing import FakeEngine, timed_server
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload

SAMPLES = Path(__file__).parents[1] / "data" / "loadgen" / "vllm"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(tmp_path):
    """Make a job whose program starts as engines do."""

    def job(url, *, fields=None, tokenizer=None, api_key=None, **workload):
        context = LaunchContext(EngineProcess.start, tmp_path, rootdir=ROOT)
        target = Target(url, "fake", tokenizer, api_key=api_key)
        shape = {"output_tokens": 8, "num_requests": 32, "concurrency": 4, "warmup": 1, **workload}
        return LoadJob(Workload(**shape), target, tmp_path / "run", fields=fields or {}, context=context)

    return job


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a program in the place of vLLM that does what a test says; the file it makes is `result`."""

    def tool(code: str) -> None:
        folder = tmp_path / "environment" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text("")
        program = folder / "vllm"
        result = "import os, sys\nresult = os.path.join(sys.argv[sys.argv.index('--result-dir') + 1], 'result.json')\n"
        program.write_text(f"#!{sys.executable}\n{result}{code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("MSPROF_VLLM_PYTHON", str(folder / "python"))

    return tool


def test_the_exit_code_counts_even_when_there_is_a_result(tool, job):
    tool(f"import shutil\nshutil.copy({str(SAMPLES / 'completions_ok.json')!r}, result)\nsys.exit('no such option')")
    with FakeEngine() as engine, pytest.raises(LoadError, match=r"exit code 1: no such option"):
        VllmBenchmark().generate(job(engine.base_url))


def test_no_result_is_an_error_even_when_the_exit_code_is_0(tool, job):
    tool("")
    with FakeEngine() as engine, pytest.raises(LoadError, match="wrote no result"):
        VllmBenchmark().generate(job(engine.base_url))


def test_the_requests_are_those_of_the_built_in_generator(tool, job):
    tool(f"import shutil\nshutil.copy({str(SAMPLES / 'completions_ok.json')!r}, result)")
    with timed_server(ttft=0, itl=0) as server:
        asked = job(server.base_url, seed=4)
        found = VllmBenchmark().generate(asked)
        assert len(server.answers()) == asked.workload.warmup
    lines = (asked.folder / "vllm_benchmark" / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == prompts(asked.workload, tokenizer=None)
    assert found.completed == 32
    assert any("another length than the 8 tokens" in note for note in found.notes)


def test_the_key_goes_through_the_environment(tool, job, tmp_path):
    seen = tmp_path / "seen"
    tool(f"open({str(seen)!r}, 'w').write(repr((sys.argv, os.environ['OPENAI_API_KEY'])))")
    with FakeEngine(api_key="s3cret-key") as engine, pytest.raises(LoadError):
        VllmBenchmark().generate(job(engine.base_url, api_key="s3cret-key"))
    argv, key = eval(seen.read_text())
    assert key == "s3cret-key"
    assert "s3cret-key" not in " ".join(argv)


def test_a_field_it_does_not_have_is_refused(job):
    with pytest.raises(UnknownName, match="BURST"):
        VllmBenchmark().generate(job("http://127.0.0.1:1", fields={"BURST": 1}))


def test_it_needs_a_launch_context(tmp_path):
    with pytest.raises(ConfigurationError, match="launch context"):
        VllmBenchmark().generate(LoadJob(Workload(), Target("http://127.0.0.1:1", "fake"), tmp_path))


@pytest.mark.e2e
@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_the_real_tool_measures_the_schedule_of_the_server(job, tmp_path, endpoint):
    try:
        find_interpreter(VLLM, rootdir=ROOT)
    except EngineNotInstalled as missing:
        pytest.skip(str(missing))
    model = make_model("tiny-qwen2", tmp_path / "model")
    with timed_server(ttft=0.05, itl=0.01, fail_every=9) as server:
        found = VllmBenchmark().generate(job(server.base_url, tokenizer=model, endpoint=endpoint))
        bodies = [answer.body for answer in server.answers()]
    assert (found.completed, found.errors) == (29, {"status 500": 3})
    assert found.distributions["ttft"].min >= 0.05
    assert found.distributions["itl"].mean == pytest.approx(0.01, rel=0.5)
    assert set(found.samples.output_tokens[found.samples.ok]) == {8}
    if endpoint == "completions":
        workload = Workload(output_tokens=8, num_requests=32, concurrency=4, warmup=1)
        assert {body["prompt"] for body in bodies[1:]} == set(prompts(workload, tokenizer=model))
