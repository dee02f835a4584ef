"""Workloads as a server sees them: what comes, from whom, when, and how it ends."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from msprof_plugins.load import StreamingLoad
from pytest_msprof import Dataset, Lengths, Prefixes, Sessions, Stages, Trace, Workload
from pytest_msprof.errors import LoadError
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.requests import plan
from pytest_msprof.testing import FakeEngine, timed_server


@pytest.fixture
def send(tmp_path):
    """Send a workload to an engine and return what was measured."""

    def send(engine: FakeEngine, **workload: Any):
        target = Target(engine.base_url, "fake", None, lambda n: {"max_tokens": n})
        shape = {"output_tokens": 3, "input_tokens": 5, "warmup": 0, **workload}
        return StreamingLoad().generate(LoadJob(Workload(**shape), target, tmp_path))

    return send


def test_each_turn_of_a_talk_carries_the_real_answers_before_it(send):
    with timed_server(ttft=0.001, itl=0) as server:
        found = send(server, endpoint="chat", num_requests=6, concurrency=2, sessions=Sessions(turns=3))
        answers = server.answers()
    talks: dict[str, list[list[dict[str, str]]]] = {}
    for answer in answers:
        messages = answer.body["messages"]
        talks.setdefault(messages[0]["content"], []).append(messages)
    assert found.completed == 6
    assert len(talks) == 2
    for turns in talks.values():
        assert [len(messages) for messages in turns] == [1, 3, 5]
        assert turns[2][:3] == turns[1]
        assert [message["role"] for message in turns[2]] == ["user", "assistant", "user", "assistant", "user"]
        assert all(turns[2][place]["content"] for place in (1, 3))


def test_between_two_turns_somebody_thinks(send):
    sessions = Sessions(turns=2, think_time=0.2)
    with timed_server(ttft=0.001, itl=0) as server:
        send(server, endpoint="chat", num_requests=2, sessions=sessions)
        first, second = server.answers()
    assert second.arrived - first.last >= 0.2


def test_a_duration_ends_a_closed_loop_and_what_runs_may_end(send):
    with timed_server(ttft=0.05, itl=0.01) as server:
        samples = send(server, concurrency=2, duration=0.4).samples
    assert samples.ok.all()
    assert samples.start.max() < 0.4
    assert len(samples) >= 4


def test_steps_of_concurrency_are_kept(send):
    with FakeEngine(ttft=0.03, itl=0) as engine:
        samples = send(engine, stages=Stages(concurrency=(1, 4), seconds=0.5)).samples
    ends = samples.start + samples.closed
    for start in samples.start:
        running = int(((samples.start <= start) & (ends > start)).sum())
        assert running <= (1 if start < 0.5 else 4)
    assert samples.ok.all()
    assert samples.start.max() < 1.0


def test_a_trace_is_replayed_when_its_requests_came(send, tmp_path):
    rows = [{"timestamp": at, "input_length": 4, "output_length": 2 + at // 100} for at in (0, 100, 300)]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with timed_server(ttft=0, itl=0) as server:
        samples = send(server, trace=Trace(path=path)).samples
    assert np.diff(samples.due) == pytest.approx([0.1, 0.2])
    assert samples.output_tokens.tolist() == [2, 3, 5]


def test_a_later_turn_of_a_trace_waits_for_the_answer_and_carries_it(send, tmp_path):
    rows = [
        {"timestamp": 0, "session_id": "a", "input_length": 4, "output_length": 3},
        {"timestamp": 10, "session_id": "a", "input_length": 2, "output_length": 2},
        {"timestamp": 700, "session_id": "a", "input_length": 2, "output_length": 2},
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with timed_server(ttft=0.2, itl=0) as server:
        samples = send(server, trace=Trace(path=path)).samples
        prompts = [answer.body["prompt"] for answer in server.answers()]
    ended = samples.start + samples.closed
    assert samples.due[1] == pytest.approx(ended[0])
    assert samples.due[2] - samples.due[0] == pytest.approx(0.7)
    assert samples.output_tokens.tolist() == [3, 2, 2]
    assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))


def test_rows_of_a_dataset_say_themselves_what_is_asked_of_whom(send, tmp_path):
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    row = {
        "messages": [{"role": "user", "content": parts}],
        "model": "fake",
        "output_tokens": 2,
        "extra_body": {"top_k": 1},
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with timed_server(ttft=0, itl=0) as server:
        found = send(server, dataset=Dataset(path=path), endpoint="chat")
        body = server.answers()[0].body
    assert body["messages"] == row["messages"]
    assert (body["model"], body["max_tokens"], body["top_k"]) == ("fake", 2, 1)
    assert found.samples.output_tokens.tolist() == [2]


def test_models_lengths_and_prefixes_arrive_as_planned(send):
    asked = {
        "num_requests": 12,
        "models": {"fake": 3, "missing": 1},
        "input_tokens": Lengths.uniform(8, 20),
        "output_tokens": Lengths.uniform(1, 6),
        "prefixes": Prefixes(number=2, tokens=6),
    }
    planned = plan(Workload(warmup=0, **asked), tokenizer=None).requests
    served = [request for request in planned if request.model == "fake"]
    with timed_server(ttft=0, itl=0) as server:
        found = send(server, **asked)
        bodies = [answer.body for answer in server.answers() if answer.tokens]
    assert [(body["prompt"], body["max_tokens"]) for body in bodies] == [
        (request.prompt, request.output_tokens) for request in served
    ]
    assert 0 < len(served) < 12
    assert found.errors == {"status 404": 12 - len(served)}


def test_a_burst_comes_at_once(send):
    with timed_server(ttft=0.2, itl=0) as server:
        samples = send(server, arrival="burst", num_requests=8).samples
    assert set(samples.due.tolist()) == {samples.due[0]}
    assert samples.start.max() < 0.2


def test_a_prompt_longer_than_the_models_limit_is_refused_in_the_words_of_the_server(send):
    with FakeEngine(ttft=0, itl=0, max_model_len=32) as engine:
        with pytest.raises(LoadError, match=r"status 400: 4.*maximum context length is 32 tokens"):
            send(engine, input_tokens=40, num_requests=4)
        found = send(engine, input_tokens=Lengths.uniform(20, 40), num_requests=20)
    assert 0 < found.errors["status 400"] < 20
    assert any("maximum context length is 32" in note for note in found.notes)


def test_talks_begin_at_their_rate_and_go_on_when_they_were_answered(send):
    sessions = Sessions(turns=2, think_time=0.1)
    with timed_server(ttft=0.05, itl=0) as server:
        samples = send(
            server, endpoint="chat", request_rate=10.0, arrival="constant", num_requests=6, sessions=sessions
        ).samples
    assert samples.ok.all()
    assert samples.due[::2] == pytest.approx(samples.due[0] + np.array([0, 0.1, 0.2]))
    answered = (samples.start + samples.closed)[::2]
    assert samples.due[1::2] == pytest.approx(answered + 0.1, abs=1e-6)
    assert (samples.start >= samples.due).all()


def test_a_missing_tokenizer_costs_exact_lengths_and_is_told(send, tmp_path):
    with timed_server(ttft=0, itl=0) as server:
        target = Target(server.base_url, "fake", tmp_path / "nowhere", lambda n: {"max_tokens": n})
        workload = Workload(num_requests=2, input_tokens=7, warmup=0)
        found = StreamingLoad().generate(LoadJob(workload, target, tmp_path))
        bodies = [answer.body for answer in server.answers()]
    assert [len(body["prompt"].split()) for body in bodies] == [7, 7]
    assert f"no tokenizer in {tmp_path / 'nowhere'}: the lengths of prompts are words, not tokens" in found.notes
