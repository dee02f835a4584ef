"""The fake engine: a real process with known speed and known faults."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from pytest_msprof.errors import ServiceExited
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.process import EngineProcess
from pytest_msprof.testing import FakeEngine, FakeSimulator, fake_command, timed_server


def ask(url, path="/v1/completions", *, key="", **body):
    """Send one request; return the status and the whole answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        connection.request("POST", path, json.dumps({"model": "fake", **body}), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def events(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_a_stream_has_the_asked_for_tokens_a_finish_reason_usage_and_an_end():
    with FakeEngine(ttft=0, itl=0) as engine:
        status, text = ask(
            engine.base_url, prompt="a b c", max_tokens=5, stream=True, stream_options={"include_usage": True}
        )
    *content, usage = events(text)
    assert status == 200
    assert [event["choices"][0]["text"] for event in content] == [" token"] * 5
    assert content[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert text.endswith("data: [DONE]\n\n")


def test_a_chat_begins_with_its_role_alone():
    messages = [{"role": "user", "content": [{"type": "text", "text": "a b"}]}]
    with FakeEngine(ttft=0, itl=0) as engine:
        _, text = ask(engine.base_url, "/v1/chat/completions", messages=messages, max_tokens=2, stream=True)
    deltas = [event["choices"][0]["delta"] for event in events(text)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": " token"}, {"content": " token"}]


def test_an_answer_that_does_not_stream_is_one_document():
    with FakeEngine(ttft=0, itl=0) as engine:
        _, text = ask(engine.base_url, prompt="a b c", max_tokens=2)
    assert json.loads(text)["choices"][0]["text"] == " token token"


def test_tokens_leave_on_the_absolute_schedule_and_never_before():
    with timed_server(ttft=0.05, itl=0.01) as server:
        ask(server.base_url, prompt="a", max_tokens=8, stream=True)
        (answer,) = server.answers()
    assert len(answer.tokens) == 8
    for index, (moment, _) in enumerate(answer.tokens):
        assert moment >= answer.arrived + 0.05 + 0.01 * index


def test_the_capacity_bounds_how_many_run_at_once():
    with FakeEngine(ttft=0.02, itl=0, capacity=2) as engine, ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(ask, engine.base_url, prompt="a", max_tokens=1) for _ in range(6)]:
            assert future.result()[0] == 200
        assert engine.stats() == {"requests": 6, "connections": 7, "most_running": 2}


def test_the_transformers_dialect_refuses_unknown_fields_and_ends_without_done():
    with FakeEngine(ttft=0, itl=0, dialect="transformers") as engine:
        assert ask(engine.base_url, prompt="a", max_tokens=2, ignore_eos=True)[0] == 422
        options = {"generation_config": json.dumps({"max_new_tokens": 3})}
        _, text = ask(engine.base_url, prompt="a", stream=True, **options)
    assert "[DONE]" not in text
    assert events(text)[-1]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("behaviour", "body", "status"),
    [
        ({"fail_every": 1}, {}, 500),
        ({"fail_every": 1, "fail": "http429"}, {}, 429),
        ({"api_key": "k"}, {}, 401),
        ({}, {"model": "other"}, 404),
        ({"max_model_len": 8}, {"max_tokens": 9}, 400),
        ({}, {"prompt": 3}, 400),
    ],
)
def test_it_refuses_as_told(behaviour, body, status):
    with FakeEngine(**behaviour) as engine:
        assert ask(engine.base_url, **{"prompt": "a", **body})[0] == status


def test_only_every_nth_request_fails():
    with FakeEngine(ttft=0, itl=0, fail_every=3) as engine:
        assert [ask(engine.base_url, prompt="a")[0] for _ in range(6)] == [200, 200, 500, 200, 200, 500]


def test_a_start_that_fails_quotes_its_last_words():
    with pytest.raises(ServiceExited, match=r"exit code 7.*no such option") as caught:
        FakeEngine(exit_at_start=7, say="no such option").__enter__()
    assert "no such option" in caught.value.log_tail


def test_a_start_without_memory_is_classed_as_such():
    with pytest.raises(ServiceExited) as caught:
        FakeEngine(oom=True).__enter__()
    assert caught.value.failure == "out of memory"


def test_a_crash_under_load_ends_the_process():
    with FakeEngine(ttft=0, itl=0, crash_after=2) as engine:
        assert ask(engine.base_url, prompt="a", stream=True)[0] == 200
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(engine.base_url, prompt="a", stream=True)
        assert engine.process.wait(10)
        assert engine.process.returncode == 1
        assert "engine core died" in engine.process.log_tail()


def test_a_stubborn_engine_survives_sigterm_and_not_the_end_of_its_block():
    with FakeEngine(stubborn=True) as engine:
        os.kill(engine.process.pid, signal.SIGTERM)
        assert ask(engine.base_url, prompt="a")[0] == 200
        engine.process.stop(grace=0.05)
    assert engine.process.returncode == -signal.SIGKILL


def test_a_script_is_sent_byte_for_byte():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\xff\r"
    with timed_server(steps=[(0.0, answer[:20]), (0.01, answer[20:])]) as server:
        parts = urlsplit(server.base_url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        connection.request("POST", "/v1/completions", json.dumps({"model": "fake", "prompt": "a"}))
        assert connection.getresponse().read() == b"a\xff\r"
        connection.close()


def test_the_server_imports_nothing_but_the_standard_library():
    assert fake_command(0)[:3] == [sys.executable, "-I", "-S"]


def test_the_simulator_passes_on_the_fields_that_have_a_value(tmp_path):
    simulator = FakeSimulator()
    simulator.configure(LaunchContext(EngineProcess.start, tmp_path, port=4321))
    given = {"capacity": 4, "itl": 0.5, "crash": True}
    simulator.data_field = tuple(
        entry.model_copy(update={"value": given.get(entry.name)}) for entry in simulator.data_field
    )
    simulator.update_command()
    assert simulator.command == fake_command(4321, capacity=4, itl=0.5, exit_at_start=1)
    assert simulator.base_url == "http://127.0.0.1:4321/health"


def test_a_simulator_with_other_faults_is_a_subclass(tmp_path):
    class Stubborn(FakeSimulator):
        behaviour: ClassVar = {"stubborn": True, "itl": 0.1}

    simulator = Stubborn()
    simulator.configure(LaunchContext(EngineProcess.start, tmp_path, port=1))
    simulator.update_command()
    assert simulator.command == fake_command(1, stubborn=True, itl=0.1)
