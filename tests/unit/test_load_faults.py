"""What goes wrong on the wire, each on a real socket, and what the load generator makes of it."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import ExitStack

import pytest

from msprof_plugins.load import StreamingLoad
from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.testing import FakeEngine, timed_server
from pytest_msprof.workload import Workload


@pytest.fixture
def run(tmp_path):
    """Run one short load against a URL."""

    def run(url, *, target=None, **workload):
        shape = {"output_tokens": 4, "num_requests": 2, "warmup": 0, "timeout": 5.0, **workload}
        job = LoadJob(Workload(**shape), target or Target(url, "fake"), tmp_path)
        return StreamingLoad().generate(job)

    return run


def text(words: str, finish: str = "") -> bytes:
    choice = {"index": 0, "text": words, "finish_reason": finish or None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


WHOLE = text("a") + text("b", "length") + b"data: [DONE]\n\n"


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    "body",
    [
        WHOLE,
        WHOLE.replace(b"\n", b"\r\n"),
        b": keep-alive\n\n" + WHOLE.replace(b"\n\n", b"\n\n: still here\n\n"),
        WHOLE.replace(b"data: [DONE]\n\n", b""),
        WHOLE.rstrip(b"\n"),
        b"event: message\nid: 7\n" + WHOLE,
    ],
    ids=["plain", "crlf", "comments", "no done", "no last blank line", "other fields"],
)
def test_a_stream_may_be_spelled_in_many_ways(run, body):
    with timed_server(steps=[(0, answer(body, "Content-Type: text/event-stream"))], end="keep") as server:
        found = run(server.base_url)
    assert found.completed == 2
    assert {len(sample.gaps) for sample in found.samples} == {1}


@pytest.mark.parametrize(
    ("steps", "end", "error"),
    [
        ([(0, answer(gzip.compress(WHOLE), "Content-Encoding: gzip"))], "keep", "encoded: the answer came in gzip"),
        (
            [(0, answer(b'{"choices":[{"text":"a b"}]}', "Content-Type: application/json"))],
            "keep",
            "not streamed: a stream was asked for, but one JSON document came",
        ),
        (
            [(0, answer(b"", "Location: /elsewhere", status="307 Temporary Redirect"))],
            "keep",
            "status 307: Location: /elsewhere",
        ),
        (
            [(0, answer(b"slow down", "Retry-After: 30", status="429 Too Many Requests"))],
            "keep",
            "status 429: Retry-After: 30; slow down",
        ),
        ([(0, answer(b"overloaded", status="503 Service Unavailable"))], "keep", "status 503: overloaded"),
        ([(0, answer(WHOLE)[:-9]), (0.01, b"")], "hold", "timeout: no whole answer within 0.5 s"),
        ([(0, answer(WHOLE)[:-9])], "reset", "stream"),
        ([(0, answer(text("a") + b"data: {broken\n\n" + WHOLE))], "keep", "stream: an event cannot be read"),
        ([(0, answer(text("a") + b'data: {"error": {"message": "out of cheese"}}\n\n'))], "keep", "out of cheese"),
    ],
)
def test_a_fault_is_classed_and_quoted(run, steps, end, error):
    with timed_server(steps=steps, end=end) as server, pytest.raises(LoadError) as caught:
        run(server.base_url, timeout=0.5)
    assert error in str(caught.value)


def test_an_answer_without_end_is_cut_off_by_its_timeout(run):
    endless = [(0.05 * index, b"%x\r\n%b\r\n" % (len(text("a")), text("a"))) for index in range(400)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with timed_server(steps=[(0, head), *endless], end="hold") as server, pytest.raises(LoadError) as caught:
        run(server.base_url, timeout=0.4)
    assert "timeout: no whole answer within 0.4 s" in str(caught.value)


STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_half_a_chunk_and_then_silence_is_a_timeout(run):
    steps = [(0, STREAM + chunk(text("a")) + chunk(text("b"))[:20])]
    with timed_server(steps=steps, end="hold") as server, pytest.raises(LoadError, match="timeout: 2"):
        run(server.base_url, timeout=0.4)


def test_comments_in_the_silence_keep_nothing_alive(run):
    comments = [(0.05 * number, chunk(b": keep-alive\n\n")) for number in range(1, 400)]
    with timed_server(steps=[(0, STREAM), *comments], end="hold") as server, pytest.raises(LoadError) as caught:
        run(server.base_url, timeout=0.4)
    assert "timeout: no whole answer within 0.4 s" in str(caught.value)


def test_comments_before_the_first_token_stop_no_clock(run):
    rest = chunk(WHOLE) + b"0\r\n\r\n"
    with timed_server(steps=[(0, STREAM + chunk(b": wait\n\n")), (0.1, rest)], end="keep") as server:
        found = run(server.base_url)
    assert found.distributions["ttft"].min >= 0.1


@pytest.mark.parametrize("place", [1, 3, 5, 6, 7, 20])
def test_a_stream_that_is_cut_inside_its_words_is_read_whole(run, place):
    whole = answer(WHOLE, "Content-Type: text/event-stream")
    cut = whole.index(b"data: ") + place
    with timed_server(steps=[(0, whole[:cut]), (0.02, whole[cut:])], end="keep") as server:
        found = run(server.base_url)
    assert (found.completed, {len(sample.gaps) for sample in found.samples}) == (2, {1})


@pytest.mark.parametrize("header", [b"X-Long: " + b"a" * (20 << 20), b"X-Many: a\r\n" * (2 << 20)])
def test_twenty_megabytes_of_header_are_not_waited_for(run, header):
    steps = [(0, b"HTTP/1.1 200 OK\r\n" + header)]
    with timed_server(steps=steps, end="hold") as server, pytest.raises(LoadError) as caught:
        run(server.base_url, timeout=20.0)
    assert "stream: more than 1048576 bytes of header" in str(caught.value)


def test_a_connection_that_nobody_takes_fails_within_the_time_of_a_request(run):
    with ExitStack() as kept:
        listener = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # one more than the system keeps for who never asks
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with pytest.raises(LoadError, match=r"connect: 2.*no connection within 0\.4 s"):
            run(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.4)


def test_a_host_that_nobody_knows_is_said_in_the_words_of_the_system(run):
    with pytest.raises(LoadError, match=r"connect: 2.*no-such-host\.invalid:80"):
        run("http://no-such-host.invalid")


def test_tls_to_a_server_without_it_fails_to_connect(run):
    with FakeEngine(ttft=0, itl=0) as engine, pytest.raises(LoadError, match=r"connect: 2"):
        run(engine.base_url.replace("http://", "https://"), timeout=0.5)


def test_a_wrong_model_is_answered_with_those_there_are(run):
    served = pytest.raises(LoadError, match=r"status 404.*\(models served there: the-right-one\)")
    with FakeEngine(ttft=0, itl=0, model="the-right-one") as engine, served:
        run(engine.base_url)


def test_a_prompt_that_is_too_long_is_refused_in_the_words_of_the_server(run):
    refused = pytest.raises(LoadError, match=r"status 400: .*maximum context length is 16 tokens")
    with FakeEngine(ttft=0, itl=0, max_model_len=16) as engine, refused:
        run(engine.base_url, input_tokens=64)


def test_headers_are_sent_and_never_shown(run, tmp_path):
    with FakeEngine(ttft=0, itl=0, api_key="s3cret") as engine:
        target = Target(engine.base_url, "fake", headers={"Authorization": "Bearer s3cret", "X-Tenant": "50%"})
        assert run("", target=target).completed == 2
    assert "s3cret" not in repr(target)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


@pytest.mark.parametrize("headers", [{"X-Two\r\nLines": "a"}, {"X-Two": "li\r\nnes"}, {"": "a"}, {"a b": "c"}])
def test_a_header_that_would_become_two_is_refused(run, headers):
    with pytest.raises(ConfigurationError, match="a header needs a name"):
        run("", target=Target("http://127.0.0.1:1", "fake", headers=headers))
