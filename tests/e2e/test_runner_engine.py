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

import psutil
import pytest

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.load import StreamingLoad
from msprof_plugins.monitors import ServerMonitor
from msprof_plugins.monitors.exposition import quantities
from msprof_plugins.runner_serve import RunnerSimulator
from pytest_msprof import LoadJob, Workload, constant
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


def start(folder, model, declared=(), **fields):
    try:
        find_interpreter(RunnerSimulator.engine, rootdir=ROOT)
    except EngineNotInstalled as error:
        pytest.skip(str(error))
    context = LaunchContext(EngineProcess.start, folder, rootdir=ROOT, port=free_port(), model=str(model))
    options = {name: constant(name, fields[name], position=f"--{name.replace('_', '-')}") for name in declared}
    return launch(RunnerSimulator(), engine="runner", fields=fields, declared=options, context=context)


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
        ({"temperature": -1}, 400, "temperature: Input should be greater than or equal to 0"),
        ({"n": 2}, 400, "n 2 is not supported (possible: 1)"),
        ({"logprobs": 0}, 400, "logprobs 0 is not supported"),
        ({"presence_penalty": 0.5}, 400, "presence_penalty 0.5 is not supported (possible: 0)"),
        ({"temprature": 0.5}, 400, "unknown option of a request 'temprature'"),
        ({"stream_options": {"usage": True}}, 400, "stream_options.usage: Extra inputs are not permitted"),
        ({"min_tokens": 17}, 400, "min_tokens must be at most max_tokens 16, but is 17"),
        ({"stop_token_ids": [9999]}, 400, "token ids must be below 4096"),
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


def test_options_that_say_nothing_of_the_answer_or_nothing_new_are_taken(service):
    plain = {"max_tokens": 4, "temperature": 0}
    neutral = {"user": "me", "metadata": {"run": 1}, "n": 1, "presence_penalty": 0.0, "logprobs": None, "stop": None}
    assert asked(service, **plain, **neutral).body["choices"] == asked(service, **plain).body["choices"]


def test_a_seed_gives_the_same_answer_and_another_one_another(service):
    body = {"max_tokens": 12, "ignore_eos": True, "temperature": 1.5, "top_p": 0.95, "top_k": 200}
    first, same, other = (asked(service, seed=seed, **body).body["choices"][0]["text"] for seed in (5, 5, 6))
    assert first == same != other
    narrow = {**body, "top_k": 1}
    greedy = {"max_tokens": 12, "ignore_eos": True}
    assert asked(service, **narrow).body["choices"] == asked(service, **greedy).body["choices"]
    free = {asked(service, **body).body["choices"][0]["text"] for _ in range(4)}
    assert len(free) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_a_string_that_stops_it(service, stream):
    body = {"prompt": " build the engine", "max_tokens": 12, "ignore_eos": True}
    text = asked(service, **body).body["choices"][0]["text"]
    stop = text[len(text) // 2 :][:3]
    body["max_tokens"] = 400
    before = counted(service)["output_tokens"]
    if stream:
        *pieces, counts = events(service, "completions", stop=["never", stop], stream_options=COUNTS, **body)
        found = ["".join(piece["choices"][0]["text"] for piece in pieces), pieces[-1]["choices"][0]["finish_reason"]]
        assert [piece["usage"]["completion_tokens"] for piece in pieces] == sorted(
            piece["usage"]["completion_tokens"] for piece in pieces
        )
    else:
        counts = asked(service, stop=stop, **body).body
        found = [counts["choices"][0]["text"], counts["choices"][0]["finish_reason"]]
    assert found == [text[: text.index(stop)], "stop"]
    assert counts["usage"]["completion_tokens"] < 12
    while counted(service)["running"]:
        time.sleep(0.05)
    assert counted(service)["output_tokens"] - before < 400


COUNTS = {"include_usage": True, "continuous_usage_stats": True}


def test_200_requests_at_once_are_all_answered_and_alone_they_say_the_same(service, tmp_path):
    prompts = [" build the engine" + " word" * (number % 64) for number in range(200)]
    with ThreadPoolExecutor(200) as threads:
        texts = list(threads.map(lambda prompt: said(service, prompt), prompts))
    assert texts[:64:16] == [said(service, prompt) for prompt in prompts[:64:16]]
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


def test_a_model_divided_over_two_processes_is_served_as_a_whole_one_until_one_of_them_dies(service, folder, tmp_path):
    sizes = dict.fromkeys(("world_size", "attn_tp_size", "dense_tp_size", "embed_tp_size", "lmhead_tp_size"), 2)
    fields = {**FIELDS, **sizes, "enable_online_split_weight": True}
    with pytest.raises(ServiceExited, match="attn_tp_size must be world_size 2, but is 1"):
        start(tmp_path / "refused", folder, declared=("world_size",), **{**FIELDS, "world_size": 2})
    divided = start(tmp_path / "divided", folder, declared=set(fields) - set(FIELDS), **fields)
    try:
        prompts = [" build the engine" + " word" * number for number in range(12)]
        with ThreadPoolExecutor(12) as threads:
            texts = list(threads.map(lambda prompt: said(divided, prompt), prompts))
        assert texts == [said(service, prompt) for prompt in prompts]
        drawn = {"temperature": 1, "seed": 3, "max_tokens": 8}
        assert asked(divided, **drawn).body["choices"] == asked(service, **drawn).body["choices"]
        (other,) = [entry for entry in psutil.Process(divided.process.pid).children(recursive=True) if rank(entry) == 1]
        other.kill()
        answer = asked(divided, max_tokens=200, ignore_eos=True)
        assert answer.status == 500
        assert "[rank 1] was ended by SIGKILL" in answer.body["error"]["message"]
        assert divided.process.wait(30)
    finally:
        divided.stop()


def rank(process):
    return int(process.environ().get("RANK", -1))


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
