"""The built-in load generator against real servers of known timing and known faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import numpy as np
import pytest

from msprof_plugins.load import StreamingLoad
from pytest_msprof.errors import ConfigurationError, LoadError, UnknownName
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.process import EngineProcess
from pytest_msprof.requests import prompts
from pytest_msprof.samples import Samples
from pytest_msprof.slots import free_port
from pytest_msprof.testing import FakeEngine, timed_server
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload


@pytest.fixture
def run(tmp_path):
    """Run one load against an engine."""

    def run(
        engine, generator=None, *, url=None, api_key=None, options=None, tokenizer=None, sink=None, step=0, **workload
    ):
        target = Target(url or engine.base_url, "fake", tokenizer, options or (lambda n: {"max_tokens": n}), api_key)
        shape = {"output_tokens": 4, "num_requests": 6, "warmup": 0, "timeout": 10.0, **workload}
        job = LoadJob(Workload(**shape), target, tmp_path, step=step, sink=sink)
        return (generator or StreamingLoad()).generate(job)

    return run


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_it_measures_what_the_server_sent(run, endpoint):
    with timed_server(ttft=0.05, itl=0.01) as server:
        found = run(server, endpoint=endpoint, concurrency=2, output_tokens=8)
        answers = server.answers()
    assert (found.completed, found.failed, found.errors) == (6, 0, {})
    for sample in found.samples:
        assert sample.ttft >= 0.05
        assert sample.latency >= 0.05 + 7 * 0.01
        assert sample.closed >= sample.latency
        assert len(sample.gaps) == 7
        assert sample.output_tokens == 8
    sent = np.sort([answer.last - answer.arrived for answer in answers])
    assert np.all(np.sort(found.samples.latency) >= sent)
    assert found.metrics["output_throughput"] == pytest.approx(48 / found.duration)


def test_the_bodies_are_those_of_the_stream_whose_numbers_it_was_given(run):
    with timed_server(ttft=0, itl=0) as server:
        run(server, seed=5, step=3, input_tokens=7, options=lambda n: {"max_tokens": n, "ignore_eos": True})
        bodies = [answer.body for answer in server.answers()]
    workload = Workload(seed=5, num_requests=6, input_tokens=7)
    assert [body["prompt"] for body in bodies] == prompts(workload, tokenizer=None, step=3)
    assert {(body["max_tokens"], body["ignore_eos"], body["stream"]) for body in bodies} == {(4, True, True)}


def test_a_request_option_of_none_takes_a_field_away(run):
    with timed_server(ttft=0, itl=0) as server:
        run(server, options=lambda n: {"max_tokens": n, "stream_options": None})
        assert all("stream_options" not in answer.body for answer in server.answers())


def test_sampling_and_further_fields_of_the_workload_win_over_the_engines(run):
    forced = {"max_tokens": 4, "temperature": 0, "ignore_eos": True}
    asked = {"sampling": {"temperature": 0.7}, "extra_body": {"user": "x"}, "ignore_eos": False}
    with timed_server(ttft=0, itl=0) as server:
        run(server, options=lambda _n: forced, **asked)
        bodies = [answer.body for answer in server.answers()]
    assert {(body["temperature"], body["user"]) for body in bodies} == {(0.7, "x")}
    assert all("ignore_eos" not in body for body in bodies)


def test_an_unknown_endpoint_is_refused_with_the_known_ones(run):
    with pytest.raises(UnknownName, match=r"unknown endpoint 'speech' \(.*chat"):
        run(None, url="http://127.0.0.1:1", endpoint="speech")


def test_the_transformers_dialect_is_spoken_where_the_engine_says_so(run):
    options = {"stream_options": None, "generation_config": json.dumps({"max_new_tokens": 4})}
    with FakeEngine(ttft=0, itl=0, dialect="transformers") as engine:
        found = run(engine, options=lambda _n: options)
    assert found.completed == 6
    assert set(found.samples.token_source) == {"usage"}


def test_a_closed_loop_keeps_its_concurrency_and_reuses_its_connections(run):
    with FakeEngine(ttft=0.02, itl=0.001) as engine:
        run(engine, concurrency=3, num_requests=12, warmup=3)
        stats = engine.stats()
    assert stats["most_running"] == 3
    assert stats["requests"] == 15
    assert stats["connections"] == 4  # one of them asks for these figures


def test_warm_up_requests_are_sent_and_not_counted(run):
    with FakeEngine(ttft=0, itl=0) as engine:
        found = run(engine, warmup=5)
        assert engine.stats()["requests"] == 11
    assert found.completed == 6


def test_an_open_loop_sends_when_due_whatever_the_engine_does(run):
    with FakeEngine(ttft=0.3, itl=0, capacity=1) as engine:
        samples = run(engine, request_rate=200.0, num_requests=8).samples
    answered = np.sort(samples.start + samples.latency)
    assert samples.start.max() < answered[2]
    assert np.all(samples.start >= samples.due)


def test_a_concurrency_bounds_an_open_loop_and_the_wait_is_recorded(run):
    with FakeEngine(ttft=0.05, itl=0) as engine:
        found = run(engine, request_rate=1000.0, concurrency=2, num_requests=8)
        assert engine.stats()["most_running"] == 2
    assert found.distributions["queue"].max >= 0.1
    assert found.distributions["latency_due"].max > found.distributions["latency"].max


def test_events_of_several_tokens_are_gaps_of_events_and_counts_of_tokens(run):
    with FakeEngine(ttft=0.02, itl=0.01, tokens_per_event=4) as engine:
        found = run(engine, output_tokens=16)
    assert set(found.samples.output_tokens) == {16}
    assert {len(sample.gaps) for sample in found.samples} == {3}
    assert found.distributions["itl"].min > 0.02
    assert any(note.startswith("an event brought 4 tokens on average: itl is the time") for note in found.notes)


def test_the_source_of_token_counts_is_told(run, tmp_path):
    with FakeEngine(ttft=0, itl=0, no_usage=True) as engine:
        found = run(engine)
        counted = run(engine, tokenizer=make_model("tiny-qwen2", tmp_path / "model"))
    assert any("output tokens are events" in note for note in found.notes)
    assert any("counted by the tokenizer" in note for note in counted.notes)
    assert set(counted.samples.token_source) == {"tokenizer"}


def test_answers_of_another_length_are_noted(run):
    with FakeEngine(ttft=0, itl=0) as engine:
        found = run(engine, options=lambda _n: {"max_tokens": 3})
    assert any("6 of 6 answers have another length than the 4 tokens asked for" in note for note in found.notes)


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        ("http500", "status 500"),
        ("http429", "status 429"),
        ("cut", "stream"),
        ("close", "stream"),
        ("garbage", "stream"),
        ("truncate", "truncated"),
        ("error-event", "error event"),
        ("empty", "empty"),
        ("hang", "timeout"),
        ("silent", "timeout"),
    ],
)
def test_each_failure_has_its_class_and_the_rest_is_measured(run, fail, error):
    with FakeEngine(ttft=0, itl=0.001, fail=fail, fail_every=3) as engine:
        found = run(engine, timeout=0.5)
    assert (found.completed, found.errors) == (4, {error: 2})
    assert found.metrics["success_rate"] == pytest.approx(4 / 6)
    assert found.distributions["latency"].n == 4
    assert any(f"2 of 6 requests failed, the first: {error}" in note for note in found.notes)


@pytest.mark.parametrize(
    ("steps", "end", "error"),
    [
        ([(0, b"HTTP/1.1 200 OK\r\nContent-Ty")], "close", "stream"),
        ([(0, b"HTTP/1.1 200 OK\r\nContent-Ty")], "reset", "stream"),
        ([(0, b"this is not HTTP\r\n\r\n")], "hold", "stream"),
        ([(0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nda")], "reset", "stream"),
        ([(0, b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * (2 << 20))], "hold", "stream"),
        ([(0, b"HTTP/1.1 307 Elsewhere\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")], "keep", "status 307"),
        ([], "close", "stream"),
        ([], "hold", "timeout"),
    ],
)
def test_broken_answers_are_failures_and_nothing_measured_is_an_error(run, steps, end, error):
    message = rf"none of 2 requests to .* succeeded \({error}: 2\); the first: {error}"
    with timed_server(steps=steps, end=end) as server, pytest.raises(LoadError, match=message):
        run(server, num_requests=2, timeout=0.5)


def test_an_answer_that_ends_by_closing_is_whole(run):
    body = b'data: {"choices":[{"text":"a","finish_reason":"stop"}]}\n\n'
    with timed_server(steps=[(0, b"HTTP/1.1 200 OK\r\n\r\n"), (0.01, body)], end="close") as server:
        assert run(server).completed == 6


def test_a_character_cut_in_two_is_one_token(run):
    event = 'data: {"choices":[{"text":"你","finish_reason":"stop"}]}\r\n\r\n'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(event)
    steps = [(0, head + event[:30]), (0.01, event[30:])]
    with timed_server(steps=steps, end="keep") as server:
        found = run(server)
    assert found.completed == 6
    assert found.distributions["ttft"].min >= 0.01


def test_a_server_that_is_not_there_is_named_with_the_words_of_the_system(run):
    port = free_port()
    with pytest.raises(
        LoadError, match=rf"127.0.0.1:{port} succeeded \(connect: 6\); .*{port}: .*refused|Connect call"
    ):
        run(None, url=f"http://127.0.0.1:{port}")


def test_a_load_gives_up_when_nothing_is_answered_any_more(run):
    with FakeEngine(ttft=0, itl=0, fail="silent", fail_every=1, fail_after=4) as engine:
        found = run(engine, StreamingLoad(patience=0.3), num_requests=500, timeout=0.2)
    assert not found.complete
    assert found.completed == 4
    assert any("given up after" in note for note in found.notes)
    assert len(found.samples) < 500


def test_an_engine_that_dies_leaves_what_was_measured_before(run):
    with FakeEngine(ttft=0, itl=0.001, crash_after=4) as engine:
        found = run(engine)
        assert engine.process.wait(10)
    assert found.completed == 3
    assert found.failed == 3
    assert set(found.errors) == {"stream", "connect"}


def test_the_api_key_is_sent_and_never_shown(run):
    with FakeEngine(ttft=0, itl=0, api_key="s3cret-key") as engine:
        assert run(engine, api_key="s3cret-key").completed == 6
        with pytest.raises(LoadError, match="status 401") as caught:
            run(engine, api_key="wr0ng-key")
    assert "wr0ng-key" not in str(caught.value)


def test_an_unknown_model_is_quoted_from_the_server(run, tmp_path):
    with FakeEngine() as engine:
        job = LoadJob(Workload(num_requests=2, warmup=0), Target(engine.base_url, "other"), tmp_path)
        with pytest.raises(LoadError, match=r"status 404: .*'other' does not exist"):
            StreamingLoad().generate(job)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://user:hunter2@host", "http://"])
def test_a_url_that_is_none_is_refused_without_its_credentials(run, url):
    with pytest.raises(ConfigurationError, match="needs an http:// or https:// URL") as caught:
        run(None, url=url)
    assert "hunter2" not in str(caught.value)


def test_the_v1_at_the_end_of_a_url_is_not_doubled(run):
    with FakeEngine(ttft=0, itl=0) as engine:
        assert run(engine, url=f"{engine.base_url}/v1/").completed == 6


def test_load_side_fields_that_it_does_not_have_are_refused(tmp_path):
    job = LoadJob(Workload(), Target("http://127.0.0.1:1", "fake"), tmp_path, fields={"BURST": 1})
    with pytest.raises(UnknownName, match="BURST"):
        StreamingLoad().generate(job)


def test_tls_is_spoken_and_verified(run, tmp_path, monkeypatch):
    pem = certificate(tmp_path)
    with FakeEngine(ttft=0, itl=0, certificate=pem) as engine:
        with pytest.raises(LoadError, match=r"connect: 6.*certificate verify failed"):
            run(engine)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert run(engine).completed == 6


def test_samples_reach_the_sink_in_blocks_while_the_load_runs(run):
    blocks: list[Samples] = []
    with FakeEngine(ttft=0.1, itl=0) as engine:
        found = run(engine, num_requests=12, sink=blocks.append)
    assert len(blocks) > 1
    together = Samples.concatenate(blocks)
    assert np.array_equal(np.sort(together.start), found.samples.start)


def test_a_sink_that_fails_ends_the_load(run):
    def full(_samples: Samples) -> None:
        raise OSError("no space left on device")

    with FakeEngine(ttft=0.1, itl=0) as engine, pytest.raises(OSError, match="no space left"):
        run(engine, num_requests=1000, sink=full)


def test_an_interrupt_hands_on_what_was_measured(run):
    blocks: list[Samples] = []

    def sink(block: Samples) -> None:
        blocks.append(block)
        if sum(map(len, blocks)) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with FakeEngine(ttft=0.02, itl=0, fail="silent", fail_every=1, fail_after=5) as engine:
        with pytest.raises(KeyboardInterrupt):
            run(engine, num_requests=100, sink=sink, timeout=60.0)
        assert engine.stats()["requests"] == 6
    assert Samples.concatenate(blocks).ok.sum() == 5


def test_it_says_how_late_the_client_was(run, tmp_path):
    with FakeEngine(ttft=0.05, itl=0.01) as engine:
        run(engine, request_rate=50.0)
    report = json.loads((tmp_path / "client.json").read_text())
    assert report["loop_delay"]["n"] > 0
    assert report["schedule_lag"]["n"] == 6


def test_the_standard_event_loop_measures_the_same(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    with FakeEngine(ttft=0.02, itl=0.002) as engine:
        found = run(engine, request_rate=50.0)
    assert found.completed == 6
    assert np.all(found.samples.start >= found.samples.due)


def certificate(folder):
    """Make a certificate for 127.0.0.1 that signs itself; one file with its key."""
    pem, key = folder / "server.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", pem], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


def test_an_engine_process_is_what_answers():
    with FakeEngine() as engine:
        assert isinstance(engine.process, EngineProcess)
