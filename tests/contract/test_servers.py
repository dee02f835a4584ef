"""Servers of somebody else, for real: what they hear, and what our dialects make of their answers.

`make contract` installs them (`python -m msprof_plugins.install_engine triton ray`).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

import numpy as np
import pytest

from msprof_plugins.load import StreamingLoad
from msprof_plugins.monitors import ServerMonitor
from pytest_msprof.errors import LoadError
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.monitors import Watched
from pytest_msprof.process import EngineProcess
from pytest_msprof.readiness import wait_until_ready
from pytest_msprof.service import answers
from pytest_msprof.slots import free_port
from pytest_msprof.store import RunStore
from pytest_msprof.watched_load import run_load
from pytest_msprof.workload import Workload

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SERVERS = ROOT / "tests" / "data" / "servers"
OPTIONS = {"temperature": 0.5, "ignore_eos": True}


def environment(name: str) -> Path:
    """Return the folder of an environment, without which there is nothing to prove."""
    folder = ROOT / ".engines" / name
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"{name} is not installed; install it with: python -m msprof_plugins.install_engine {name}")
    return folder


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    """Start a Triton server with two models of its Python backend; gives the URLs of requests and metrics."""
    home, folder = environment("triton"), tmp_path_factory.mktemp("triton")
    port, metrics = free_port(), free_port()
    for name, streams in (("words", "true"), ("whole", "false")):
        (folder / "models" / name / "1").mkdir(parents=True)
        shutil.copy(SERVERS / "triton" / "model.py", folder / "models" / name / "1")
        configuration = Template((SERVERS / "triton" / "config.pbtxt").read_text())
        (folder / "models" / name / "config.pbtxt").write_text(configuration.substitute(NAME=name, STREAMS=streams))
    command = [
        *(str(home / "bin" / "python"), str(home / "bin" / "tritonserver"), "--disable-auto-complete-config"),
        *("--model-repository", str(folder / "models"), "--allow-grpc", "false"),
        *("--http-address", "127.0.0.1", "--http-port", str(port)),
        *("--metrics-address", "127.0.0.1", "--metrics-port", str(metrics)),
    ]
    url = f"http://127.0.0.1:{port}"
    with EngineProcess.start(
        command, name="tritonserver", env=dict(os.environ), cwd=folder, log_path=folder / "log"
    ) as process:
        wait_until_ready(process, lambda: answers(f"{url}/v2/health/ready"), timeout=120)
        yield url, f"http://127.0.0.1:{metrics}/metrics"


@pytest.fixture(scope="module")
def ray_serve(tmp_path_factory):
    """Start a deployment of Ray Serve; its own ports ask for a token."""
    home, folder = environment("ray"), tmp_path_factory.mktemp("ray")
    port = free_port()
    env = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    command = [str(home / "bin" / "python"), str(SERVERS / "ray" / "deployment.py"), str(port)]
    with EngineProcess.start(command, name="ray", env=env, cwd=folder, log_path=folder / "log") as process:
        wait_until_ready(process, lambda: "the application is ready" in process.log_tail(400), timeout=300)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def job(tmp_path):
    """Make a job of four requests, two at once."""

    def job(url: str, endpoint: str, model: str = "words", **workload) -> LoadJob:
        target = Target(url, model, None, lambda n: {**OPTIONS, "max_tokens": n})
        shape = {"num_requests": 4, "concurrency": 2, "warmup": 1, "output_tokens": 8, "input_tokens": 5, **workload}
        return LoadJob(Workload(endpoint=endpoint, **shape), target, tmp_path)

    return job


STUDY = """
import pytest

from pytest_msprof import SearchSpace, Workload, choice, integers
from pytest_msprof.http_client import ask

SPACE = SearchSpace(
    integers("max_batch_size", 1, 16, log=True),
    choice("dynamic_batching", [False, True]),
    integers("instance_count", 1, 2),
    choice("http_thread_count", [2, 4]),
    default={"http_thread_count": 4},
)
LOAD = Workload(endpoint="triton", stream=False, input_tokens=4, output_tokens=4, concurrency=8, num_requests=64)


@pytest.mark.tune(SPACE, workload=LOAD, objective="request_throughput", n_trials=6, confirm=1, seed=1)
def test_batching(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        found = ask(f"{service.base_url}/v2/models/batched/config").body
        given = {"max_batch_size": 4, "instance_count": 1, "dynamic_batching": False, **trial.fields}
        assert found["max_batch_size"] == given["max_batch_size"]
        assert found["instance_group"][0]["count"] == given["instance_count"]
        assert ("dynamic_batching" in found) == given["dynamic_batching"]
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
"""


def test_a_study_of_triton_gives_another_configuration_to_the_server_that_runs(tmp_path):
    home = environment("triton")
    folder = tmp_path / "models" / "batched"
    (folder / "1").mkdir(parents=True)
    shutil.copy(SERVERS / "triton" / "batched.py", folder / "1" / "model.py")
    configuration = Template((SERVERS / "triton" / "config.pbtxt").read_text()).substitute(
        NAME="batched", STREAMS="false"
    )
    (folder / "config.pbtxt").write_text(configuration.replace("max_batch_size: 0", "max_batch_size: 4"))
    (tmp_path / "test_it.py").write_text(STUDY)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "--msprof-engine=triton", f"--msprof-model={folder}", "-q"]

    said = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MSPROF_TRITON_PYTHON": str(home)},
        capture_output=True,
        text=True,
    )

    runs = list(RunStore(tmp_path / ".msprof" / "runs").runs())
    searched, launches = runs[:6], {run.launch_id for run in runs[:6]}
    assert said.returncode == 0, said.stdout
    assert len({json.dumps(run.fields, sort_keys=True) for run in searched}) == 6
    assert len(launches) < 6
    assert len({run.launch_id for run in runs[6:]}) == len(runs[6:]) > 0
    assert (folder / "config.pbtxt").read_text().count("max_batch_size: 4") == 1


def test_a_triton_server_streams_what_its_model_sends_word_by_word(triton, job):
    found = StreamingLoad().generate(job(triton[0], "triton"))
    assert found.completed == 4
    assert found.samples.output_tokens.tolist() == [8] * 4
    assert set(found.samples.token_source) == {"events"}
    assert np.median(found.samples.gaps) >= 0.005
    assert (found.samples.ttft < found.samples.latency).all()


def test_a_triton_server_generates_in_one_piece(triton, job):
    found = StreamingLoad().generate(job(triton[0], "triton", "whole", stream=False))
    assert found.completed == 4
    assert found.samples.ttft.tolist() == found.samples.latency.tolist()


def test_a_triton_server_infers_by_the_protocol_of_kserve(triton, job):
    found = StreamingLoad().generate(job(triton[0], "kserve", "whole"))
    assert found.completed == 4
    tensor = {"name": "text_input", "shape": [1], "datatype": "BYTES", "data": ["ours"]}
    assert StreamingLoad().generate(job(triton[0], "kserve", "whole", extra_body={"inputs": [tensor]})).completed == 4


def test_what_a_triton_server_refuses_is_told_in_its_words(triton, job):
    with pytest.raises(LoadError, match="unknown model: 'nobody' is not found"):
        StreamingLoad().generate(job(triton[0], "triton", "nobody"))
    with pytest.raises(LoadError, match="invalid type"):
        StreamingLoad().generate(job(triton[0], "triton", sampling={"stop": ["a"]}))
    with pytest.raises(LoadError, match="refused as asked"):
        StreamingLoad().generate(job(triton[0], "triton", extra_body={"text_input": "refuse"}))


def test_a_triton_server_counts_the_requests_that_we_sent(triton, job):
    url, metrics_url = triton
    watched = Watched(url, metrics_url=metrics_url)
    found = run_load(StreamingLoad(), job(url, "triton"), monitors={"server": ServerMonitor()}, watched=watched)
    assert found.server["requests"] == 5
    assert not [note for note in found.notes if "the service counted" in note]


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_ray_serve_streams_by_openais_endpoints(ray_serve, job, endpoint):
    found = StreamingLoad().generate(job(ray_serve, endpoint))
    assert found.completed == 4
    assert found.samples.output_tokens.tolist() == [8] * 4
    assert set(found.samples.token_source) == {"usage"}
    assert set(found.samples.finish_reason) == {"length"}
    assert np.median(found.samples.gaps) >= 0.005


def test_ray_serve_answers_an_object_at_the_route_itself(ray_serve, job):
    assert StreamingLoad().generate(job(ray_serve, "ray_serve")).completed == 4
