"""The fast server keeps its schedule and says what it did."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from pytest_msprof.testing import fast_server


def ask(server, path, **body):
    parts = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def events(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("itl", [0, 0.005])
def test_a_stream_has_the_tokens_that_were_asked_for(itl):
    with fast_server(ttft=0, itl=itl) as server:
        text = ask(server, "/v1/completions", model="fake", prompt="a", max_tokens=4, stream=True)
    *tokens, usage = events(text)
    assert [event["choices"][0]["finish_reason"] for event in tokens] == [None, None, None, "length"]
    assert usage["usage"]["completion_tokens"] == 4
    assert text.endswith("data: [DONE]\n\n")


def test_a_chat_begins_with_its_role():
    with fast_server(ttft=0, itl=0) as server:
        text = ask(server, "/v1/chat/completions", model="fake", messages=[], max_tokens=2, stream=True)
    assert [event["choices"][0]["delta"].get("role") for event in events(text)[:-1]] == ["assistant", None, None]


def test_an_answer_in_one_piece_comes_with_its_last_token():
    with fast_server(ttft=0.01, itl=0.01, record=True) as server:
        answer = json.loads(ask(server, "/v1/completions", model="fake", prompt="a", max_tokens=3))
        sent = server.answers()[0]
    assert answer["choices"][0]["text"] == " token" * 3
    assert sent.last - sent.arrived >= 0.03


def test_no_token_is_sent_before_its_time_and_all_are_told():
    with fast_server(ttft=0.02, itl=0.005, record=True) as server:
        ask(server, "/v1/completions", model="fake", prompt="a b", max_tokens=8, stream=True)
        answer = server.answers()[0]
    assert answer.body["prompt"] == "a b"
    assert [tokens for _, tokens in answer.tokens] == [1] * 8
    offsets = [moment - answer.arrived for moment, _ in answer.tokens]
    assert all(offset >= 0.02 + 0.005 * index for index, offset in enumerate(offsets))


def test_it_knows_no_other_path():
    with fast_server() as server:
        assert ask(server, "/nowhere", x=1) == ""
        assert server.stats()["requests"] == 0
