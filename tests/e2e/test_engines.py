"""The built-in engines for real: they start, answer at the asked length, describe themselves, fail with words."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import pytest

from msprof_plugins.external import ExternalSimulator
from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.load import StreamingLoad
from msprof_plugins.monitors import ServerMonitor
from msprof_plugins.transformers_serve import TransformersSimulator
from msprof_plugins.vllm import VllmSimulator
from pytest_msprof import LoadJob, Workload, choice
from pytest_msprof.errors import EngineNotInstalled, ServiceExited
from pytest_msprof.http_client import ask
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.monitors import Watched
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import launch
from pytest_msprof.slots import free_port
from pytest_msprof.tiny_models import make_model
from pytest_msprof.watched_load import run_load

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
LENGTH = 37
BATCHING = {"continuous_batching": True, "num_blocks": 16, "batch_tokens": 256}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


def start(simulator, folder, *, model=None, fields=None, declared=(), base_url=None):
    context = LaunchContext(
        launcher=EngineProcess.start,
        folder=folder,
        rootdir=ROOT,
        port=free_port(),
        model=model and str(model),
        base_url=base_url,
    )
    return launch(
        simulator,
        engine=type(simulator).default_name,
        fields=fields or {},
        declared={entry.name: entry for entry in declared},
        context=context,
    )


def needs(simulator):
    try:
        find_interpreter(simulator.engine, rootdir=ROOT)
    except EngineNotInstalled as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def running(simulator, folder, **launched):
    """Lend a started engine; that nothing of it is left afterwards is part of every test."""
    needs(simulator)
    service = start(simulator, folder, **launched)
    family = psutil.Process(service.process.pid).children(recursive=True)
    try:
        yield service
    finally:
        service.stop()
    assert not [process for process in family if process.is_running()]


@pytest.fixture(scope="module")
def transformers(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers")
    with running(TransformersSimulator(), folder, model=model, fields=BATCHING) as service:
        yield service


@pytest.fixture(scope="module")
def vllm(model, tmp_path_factory):
    fields = {"enforce_eager": True, "max_num_seqs": 4}
    simulator = VllmSimulator()
    simulator.env["VLLM_SERVER_DEV_MODE"] = "1"
    with running(simulator, tmp_path_factory.mktemp("vllm"), model=model, fields=fields) as service:
        yield service


def used_tokens(service, path, **body):
    wanted = {"model": service.model, **body, **service.target.request_options(LENGTH)}
    answer = ask(f"{service.base_url}{path}", wanted, timeout=60)
    assert answer.ok, answer.body
    return answer.body["usage"]["completion_tokens"]


def assert_answers_at_length(service):
    assert used_tokens(service, "/v1/completions", prompt=" build the engine") == LENGTH
    assert used_tokens(service, "/v1/chat/completions", messages=[{"role": "user", "content": "hello"}]) == LENGTH


def assert_a_load_succeeds(service, folder):
    workload = Workload(input_tokens=32, output_tokens=16, concurrency=4, num_requests=8)
    measured = StreamingLoad().generate(LoadJob(workload=workload, target=service.target, folder=folder))
    assert (measured.completed, measured.failed) == (8, 0)
    assert measured.metrics["output_throughput"] > 0
    assert sum(sample.output_tokens for sample in measured.samples) == 8 * 16


def assert_external_finds(service, folder, dialect):
    found = start(ExternalSimulator(), folder, base_url=service.base_url, model=service.model)
    assert found.model == service.model
    assert found.environment["dialect"] == dialect
    assert used_tokens(found, "/v1/completions", prompt=" build the engine") == LENGTH


def test_transformers_with_continuous_batching_answers_at_the_asked_length(transformers):
    assert_answers_at_length(transformers)


def test_transformers_takes_a_load(transformers, tmp_path):
    assert_a_load_succeeds(transformers, tmp_path)


def test_transformers_describes_itself(transformers):
    assert transformers.environment["version"] == transformers.environment["packages"]["transformers"]
    assert transformers.environment["variables"]["OMP_NUM_THREADS"] == "1"
    assert "--continuous-batching" in transformers.environment["command"]


def test_external_speaks_the_dialect_of_transformers(transformers, tmp_path):
    assert_external_finds(transformers, tmp_path, "transformers")


def test_transformers_without_continuous_batching_answers_and_ends(model, tmp_path):
    with running(TransformersSimulator(), tmp_path, model=model) as service:
        assert_answers_at_length(service)
    assert service.process.returncode is not None


def test_transformers_without_a_model_in_the_folder_fails_with_its_own_words(tmp_path):
    needs(TransformersSimulator)
    with pytest.raises(ServiceExited) as caught:
        start(TransformersSimulator(), tmp_path / "launch", model=tmp_path)
    assert caught.value.failure == "model not found"
    assert str(tmp_path) in caught.value.log_tail


def test_vllm_answers_at_the_asked_length(vllm):
    assert_answers_at_length(vllm)


def test_vllm_takes_a_load(vllm, tmp_path):
    assert_a_load_succeeds(vllm, tmp_path)


def test_vllm_counts_what_the_client_counts(vllm, tmp_path):
    workload = Workload(input_tokens=32, output_tokens=16, concurrency=4, num_requests=8, warmup=2)
    job = LoadJob(workload=workload, target=vllm.target, folder=tmp_path)
    monitors = {"server": ServerMonitor()}
    measured = run_load(StreamingLoad(), job, monitors=monitors, watched=Watched(vllm.base_url, pid=vllm.process.pid))
    assert (measured.server["requests"], measured.server["output_tokens"]) == (10, 160)
    assert not [note for note in measured.notes if "the service counted" in note]


def test_vllm_is_a_family_of_processes_of_which_only_one_is_our_child(vllm):
    assert len(psutil.Process(vllm.process.pid).children(recursive=True)) >= 3


def test_vllm_describes_itself(vllm):
    assert vllm.environment["version"].startswith(vllm.environment["build"])
    assert vllm.environment["variables"]["VLLM_CPU_KVCACHE_SPACE"] == "1"


def test_vllm_forgets_its_prefixes_where_its_user_allows_that(vllm):
    assert vllm.simulator.reset_cache()
    assert not VllmSimulator().reset_cache()


def test_external_speaks_the_dialect_of_openai(vllm, tmp_path):
    assert_external_finds(vllm, tmp_path, "openai")


def test_vllm_with_an_unknown_option_fails_with_its_own_words(model, tmp_path):
    needs(VllmSimulator)
    declared = [choice("wrong", [1, 2], position="--no-such-option")]
    with pytest.raises(ServiceExited, match="unrecognized arguments: --no-such-option") as caught:
        start(VllmSimulator(), tmp_path, model=model, fields={"wrong": 1}, declared=declared)
    assert caught.value.failure == "bad option"
