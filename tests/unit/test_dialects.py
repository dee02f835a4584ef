"""Each endpoint over a real socket: what it hears, and what is made of its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Self

import pytest

from msprof_plugins.load import StreamingLoad
from msprof_plugins.load.bodies import Bodies
from msprof_plugins.load.dialects import DIALECTS, find_dialect
from pytest_msprof.errors import LoadError
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.requests import Request
from pytest_msprof.workload import Workload

GUIDE = Path(__file__).parents[2] / "docs" / "plugin-guide.md"
CONFIG = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
GREEDY = {"generation_config": json.dumps(CONFIG)}
SAMPLED = {**CONFIG, "top_p": 0.5, "do_sample": True}


class Heard(NamedTuple):
    """One request as the server got it."""

    path: str
    body: dict[str, Any]


class Answering:
    """A server that gives every request the same answer, and remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answer = b""
        self.kind = "application/json"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.heard.append(Heard(self.path, json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Type", outer.kind)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def says(self, answer: Any) -> None:
        """Answer in one piece."""
        self.answer, self.kind = json.dumps(answer).encode(), "application/json"

    def streams(self, *events: Any) -> None:
        """Answer in events."""
        self.answer = b"".join(b"data:" + json.dumps(event).encode() + b"\n\n" for event in events)
        self.kind = "text/event-stream"


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as server:
        yield server


@pytest.fixture
def ask(server, tmp_path):
    """Send two requests and return what was measured, and what the server heard last."""

    def ask(endpoint: str, **workload: Any):
        options = {"temperature": 0, "ignore_eos": True, "max_tokens": 4}
        target = Target(server.url, "base", None, lambda _n: options)
        shape = {"num_requests": 2, "warmup": 0, "input_tokens": 3, "output_tokens": 4, **workload}
        found = StreamingLoad().generate(LoadJob(Workload(endpoint=endpoint, **shape), target, tmp_path))
        return found, server.heard[-1]

    return ask


def test_a_completion_may_come_in_one_piece(server, ask):
    choice = {"index": 0, "text": "a b c d", "finish_reason": "length"}
    server.says({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    found, heard = ask("completions", stream=False)
    assert heard.path == "/v1/completions"
    assert heard.body["stream"] is False
    assert "stream_options" not in heard.body
    assert found.completed == 2
    assert found.samples.output_tokens.tolist() == [4, 4]
    assert found.samples.ttft.tolist() == found.samples.latency.tolist()
    assert "tpot" not in found.distributions


def test_a_chat_in_one_piece_may_think_and_call_tools(server, ask):
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [{"function": {"name": "f"}}],
    }
    server.says({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    found, heard = ask("chat", stream=False)
    assert heard.path == "/v1/chat/completions"
    assert [message["role"] for message in heard.body["messages"]] == ["user"]
    assert found.completed == 2


def test_an_answer_in_one_piece_without_a_finish_reason_was_cut(server, ask):
    server.says({"choices": [{"text": "a", "finish_reason": None}]})
    with pytest.raises(LoadError, match="truncated: 2"):
        ask("completions", stream=False)


def test_embeddings_are_asked_for_without_sampling_and_have_a_latency(server, ask):
    server.says({"data": [{"embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 3}})
    found, heard = ask("embeddings")
    assert heard.path == "/v1/embeddings"
    assert set(heard.body) == {"model", "input"}
    assert found.completed == 2
    assert found.samples.output_tokens.tolist() == [0, 0]
    assert found.samples.input_tokens.tolist() == [3, 3]
    assert found.distributions["latency"].root["n"] == 2
    assert not [note for note in found.notes if "another length" in note]


def test_triton_streams_text_and_does_not_say_when_it_ends(server, ask):
    server.streams(*({"model_name": "base", "text_output": word} for word in ("a", " b", "", " c")))
    found, heard = ask("triton")
    assert heard.path == "/v2/models/base/generate_stream"
    assert heard.body["parameters"]["max_tokens"] == 4
    assert heard.body["parameters"]["stream"] is True
    assert len(heard.body["text_input"].split()) == 3
    assert found.samples.output_tokens.tolist() == [3, 3]
    assert set(found.samples.token_source) == {"events"}


def test_triton_generates_in_one_piece_too(server, ask):
    server.says({"text_output": "a b"})
    found, heard = ask("triton", stream=False, models={"lora": 1})
    assert heard.path == "/v2/models/lora/generate"
    assert found.completed == 2


def test_kserve_sends_tensors_and_reads_those_that_come_back(server, ask):
    server.says({"outputs": [{"name": "score", "datatype": "FP32", "data": [1.0]}]})
    found, heard = ask("kserve")
    assert heard.path == "/v2/models/base/infer"
    assert heard.body["inputs"][0]["datatype"] == "BYTES"
    assert heard.body["parameters"] == {"temperature": 0, "ignore_eos": True, "max_tokens": 4}
    assert found.samples.output_tokens.tolist() == [0, 0]
    server.says({"outputs": [{"name": "text_output", "datatype": "BYTES", "data": ["a b"]}]})
    tensor = {"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}
    found, heard = ask("kserve", extra_body={"inputs": [tensor]})
    assert heard.body["inputs"] == [tensor]
    assert found.completed == 2


@pytest.mark.parametrize(("endpoint", "path"), [("text_generation", "/generate_stream"), ("mindie", "/infer")])
def test_text_generation_and_mindie_tell_tokens_then_details(server, ask, endpoint, path):
    tokens = [{"token": {"id": 5, "text": word}} for word in ("a", " b", " c")]
    last = {"token": {"id": 5, "text": " d"}, "generated_text": "a b c d"}
    details = {"finish_reason": "length", "generated_tokens": 4}
    server.streams(*tokens, {**last, "details": details})
    found, heard = ask(endpoint)
    assert heard.path == path
    assert heard.body["parameters"]["max_new_tokens"] == 4
    assert heard.body["parameters"]["do_sample"] is False
    assert heard.body.get("stream", "in the path") in (True, "in the path")
    assert ("ignore_eos" in heard.body["parameters"]) == (endpoint == "mindie")
    assert found.samples.output_tokens.tolist() == [4, 4]
    assert set(found.samples.finish_reason) == {"length"}
    assert [len(sample.gaps) for sample in found.samples] == [3, 3]


def test_text_generation_comes_in_one_piece_too(server, ask):
    server.says({"generated_text": "a b c d", "details": {"finish_reason": "length", "generated_tokens": 4}})
    found, heard = ask("text_generation", stream=False)
    assert heard.path == "/generate"
    assert found.samples.output_tokens.tolist() == [4, 4]


@pytest.mark.parametrize("answer", [{"text": "a b"}, {"scores": [1, 2]}, ["a"], 3])
def test_whatever_a_deployment_of_ray_serve_answers_is_an_answer(server, ask, answer):
    server.says(answer)
    found, heard = ask("ray_serve")
    assert heard.path == "/"
    assert heard.body["max_tokens"] == 4
    assert found.completed == 2


@pytest.mark.parametrize("endpoint", sorted(DIALECTS))
@pytest.mark.parametrize("streams", [True, False])
def test_an_error_inside_an_answer_is_a_failure_in_every_dialect(server, ask, endpoint, streams):
    error = {"error": {"message": "out of memory"}}
    streaming = find_dialect(endpoint, streams=streams).streams
    (server.streams if streaming else server.says)(error)
    with pytest.raises(LoadError, match=r"error event: 2.*out of memory"):
        ask(endpoint, stream=streams)


@pytest.fixture
def acme():
    """Define the dialect that the plugin guide prints, as it is printed."""
    printed = re.search(r"```python\n(# acme_serving/dialect.py\n.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert printed[1].count("\n") < 50
    exec(compile(printed[1], str(GUIDE), "exec"), {})
    yield
    del DIALECTS["acme"]


@pytest.mark.usefixtures("acme")
def test_the_dialect_of_the_guide_is_spoken(server, ask):
    server.streams({"word": "a"}, {}, {"word": " b", "end": "length", "counts": {"in": 3, "out": 2}})
    found, heard = ask("acme")
    assert heard.path == "/acme/base/stream"
    assert heard.body["length"] == 4
    assert heard.body["greedy"] is True
    assert found.samples.output_tokens.tolist() == [2, 2]
    assert found.samples.input_tokens.tolist() == [3, 3]
    assert [len(sample.gaps) for sample in found.samples] == [1, 1]


@pytest.mark.usefixtures("acme")
def test_the_dialect_of_the_guide_tells_failures_and_cut_answers(server, ask):
    server.streams({"word": "a"})
    with pytest.raises(LoadError, match="truncated: 2"):
        ask("acme")
    server.says({"failure": "no room"})
    with pytest.raises(LoadError, match=r"error event: 2.*no room"):
        ask("acme", stream=False)


@pytest.mark.parametrize(
    ("options", "workload", "told"),
    [
        ({"ignore_eos": True, "min_tokens": 4}, {}, {"ignore_eos": True, "min_tokens": 4}),
        ({"ignore_eos": True, "min_tokens": 4}, {"ignore_eos": False}, {}),
        (GREEDY, {}, GREEDY),
        (GREEDY, {"ignore_eos": False}, {"temperature": 0, "max_tokens": 4}),
        (GREEDY, {"sampling": {"top_p": 0.5}}, {"generation_config": json.dumps(SAMPLED), "top_p": 0.5}),
    ],
)
def test_answers_end_and_are_sampled_in_each_engines_own_words(options, workload, told):
    target = Target("http://127.0.0.1", "base", None, lambda _n: options)
    bodies = Bodies(find_dialect("completions", streams=False), Workload(**workload), target)
    assert bodies.body(Request("p")) == {"model": "base", "stream": False, "prompt": "p", **told}
