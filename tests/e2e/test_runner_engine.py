"""The engine `runner` for real: OpenAI's API over HTTP, many at once, and the suites that measure it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.load import StreamingLoad
from msprof_plugins.monitors import ServerMonitor
from msprof_plugins.monitors.exposition import quantities
from msprof_plugins.runner_serve import RunnerSimulator
from pytest_msprof import LoadJob, Workload
from pytest_msprof.errors import EngineNotInstalled, ServiceExited
from pytest_msprof.http_client import ask
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.monitors import Watched
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import launch
from pytest_msprof.slots import free_port
from pytest_msprof.testing import SimulatorConformance
from pytest_msprof.tiny_models import make_model
from pytest_msprof.watched_load import run_load

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
FIELDS = {"dtype": "float32", "batch_size": 8, "max_model_len": 512}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model("tiny-llama", tmp_path_factory.mktemp("models") / "tiny-llama")


def start(folder, model, **fields):
    try:
        find_interpreter(RunnerSimulator.engine, rootdir=ROOT)
    except EngineNotInstalled as error:
        pytest.skip(str(error))
    context = LaunchContext(EngineProcess.start, folder, rootdir=ROOT, port=free_port(), model=str(model))
    return launch(RunnerSimulator(), engine="runner", fields=fields, declared={}, context=context)


@pytest.fixture(scope="module")
def service(folder, tmp_path_factory):
    found = start(tmp_path_factory.mktemp("runner"), folder, **FIELDS)
    try:
        yield found
    finally:
        found.stop()


class TestRunner(SimulatorConformance):
    @pytest.fixture
    def simulator_class(self):
        return RunnerSimulator

    @pytest.fixture
    def model(self, folder):
        return str(folder)

    @pytest.fixture
    def service(self, service):
        return service

    def test_nothing_of_it_is_left_after_its_end(self, folder, tmp_path):
        found = start(tmp_path, folder)
        super().test_nothing_of_it_is_left_after_its_end(found)


def asked(service, path="completions", **body):
    prompt = {"prompt": " build the engine"} if path == "completions" else {}
    return ask(f"{service.base_url}/v1/{path}", {"model": service.model, **prompt, **body}, timeout=60)


def events(service, path, **body):
    """Return what a streamed answer says, event by event, and whether it came to its end."""
    parts = urlsplit(service.base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("POST", f"/v1/{path}", json.dumps({"model": service.model, "stream": True, **body}))
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.read().decode().split("\n\n") if line]
    connection.close()
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_streamed_completion_says_what_one_in_a_piece_says(service):
    body = {"prompt": " build the engine", "max_tokens": 12, "ignore_eos": True}
    whole = asked(service, **body).body
    found = events(service, "completions", stream_options={"include_usage": True}, **body)
    *pieces, counted = found
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == whole["choices"][0]["text"]
    assert [piece["choices"][0]["finish_reason"] for piece in pieces] == [None] * 11 + ["length"]
    assert counted["choices"] == []
    assert counted["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["object"] == "text_completion"


def test_a_talk_is_written_by_the_template_of_the_model(service):
    talk = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    whole = asked(service, "chat/completions", messages=talk, max_completion_tokens=5, temperature=0).body
    written = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    same = asked(service, prompt=written, max_tokens=5).body
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": same["choices"][0]["text"]}
    assert whole["usage"] == same["usage"]
    pieces = events(service, "chat/completions", messages=talk, max_tokens=5)
    deltas = [piece["choices"][0]["delta"] for piece in pieces]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta["content"] for delta in deltas) == same["choices"][0]["text"]
    assert not any("usage" in piece for piece in pieces)


def test_the_model_is_named_with_its_length(service):
    (model,) = ask(f"{service.base_url}/v1/models").body["data"]
    assert (model["id"], model["max_model_len"]) == (service.model, 512)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "other"}, 404, "the model 'other' does not exist"),
        ({"prompt": [7] * 600}, 400, "may have 512 tokens, but the prompt has 600"),
        ({"prompt": [7] * 500, "max_tokens": 13}, 400, "may have 512 tokens"),
        ({"prompt": [4096]}, 400, "token ids must be below 4096"),
        ({"prompt": ["one", "two"]}, 400, "one prompt a request"),
        ({"prompt": ""}, 400, "at least one token"),
        ({"prompt": 7}, 400, "prompt"),
        ({"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"temperature": 0.7}, 400, "temperature 0.7 is not supported: answers are greedy"),
        ({"n": 2}, 400, "n 2 is not supported"),
    ],
)
def test_what_cannot_be_served_is_refused_in_the_form_of_openai(service, body, status, words):
    answer = asked(service, **body)
    assert answer.status == status
    assert words in answer.body["error"]["message"]
    assert answer.body["error"]["type"] == "invalid_request_error"


def test_what_is_no_request_is_refused_in_the_form_of_openai(service):
    assert ask(f"{service.base_url}/v1/nothing").status == 404
    assert ask(f"{service.base_url}/v1/completions").body["error"]["message"] == "Method Not Allowed"
    assert asked(service, "chat/completions", messages=[]).status == 400
    assert asked(service, "chat/completions", messages=[{"role": "user", "content": [{"type": "image"}]}]).status == 400


def test_64_requests_at_once_are_all_answered_and_alone_they_say_the_same(service, tmp_path):
    prompts = [" build the engine" + " word" * number for number in range(64)]
    with ThreadPoolExecutor(64) as threads:
        texts = list(threads.map(lambda prompt: said(service, prompt), prompts))
    assert texts[::16] == [said(service, prompt) for prompt in prompts[::16]]
    workload = Workload(input_tokens=24, output_tokens=8, concurrency=64, num_requests=128, warmup=0)
    job = LoadJob(workload=workload, target=service.target, folder=tmp_path)
    watched = Watched(service.base_url, pid=service.process.pid)
    measured = run_load(StreamingLoad(), job, monitors={"server": ServerMonitor()}, watched=watched)
    assert (measured.completed, measured.failed) == (128, 0)
    assert {sample.output_tokens for sample in measured.samples} == {8}
    assert (measured.server["requests"], measured.server["output_tokens"]) == (128, 128 * 8)


def said(service, prompt):
    answer = asked(service, prompt=prompt, max_tokens=6, ignore_eos=True)
    assert answer.ok, answer.body
    return answer.body["choices"][0]["text"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_place(service, stream):
    parts = urlsplit(service.base_url)
    body = {"model": service.model, "prompt": " build", "max_tokens": 500, "ignore_eos": True, "stream": stream}
    before = counted(service)["output_tokens"]
    for _ in range(16):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.request("POST", "/v1/completions", json.dumps(body))
        if stream:
            assert connection.getresponse().read(10)
        connection.close()
    while (found := counted(service))["running"] or found["waiting"]:
        time.sleep(0.05)
    assert found["output_tokens"] - before < 16 * 250


def counted(service):
    return quantities(ask(f"{service.base_url}/metrics").text)


def test_a_folder_without_a_model_fails_with_its_own_words(tmp_path):
    with pytest.raises(ServiceExited, match=r"config\.json") as caught:
        start(tmp_path / "launch", tmp_path)
    assert caught.value.failure == "model not found"


def test_a_suite_of_serving_measures_it(folder, tmp_path):
    command = [sys.executable, "-m", "pytest", str(ROOT / "suites" / "test_serving.py"), "-k", "4", "-q"]
    options = ["--msprof-engine", "runner", "--msprof-model", str(folder), "--rootdir", str(tmp_path)]
    (tmp_path / ".engines").symlink_to(ROOT / ".engines")
    found = subprocess.run(
        [*command, *options, "-c", "/dev/null", "-p", "no:cacheprovider", "--msprof-report", "no"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    (run,) = (tmp_path / ".msprof" / "runs").glob("*/run.json")
    stored = json.loads(run.read_text())
    assert (stored["engine"], stored["metrics"]["success_rate"]) == ("runner", 1)
    assert {"starlette", "torch", "uvicorn"} <= set(stored["environment"]["packages"])
