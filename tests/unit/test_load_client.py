"""The client of the load generator: how it reaches a server, when it sends, and how it ends."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from msprof_plugins.load import StreamingLoad
from msprof_plugins.load.open_files import room_for
from pytest_msprof import Sessions, Stages, Workload
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.interfaces import LoadJob, Progress, Target
from pytest_msprof.testing import FakeEngine, fast_server, timed_server


@pytest.fixture
def run(tmp_path):
    """Run one load against a server."""

    def run(server, *, progress=None, stop=None, sink=None, **workload):
        shape = {"output_tokens": 4, "warmup": 0, "timeout": 10.0, **workload}
        if not shape.keys() & {"duration", "stages"}:
            shape.setdefault("num_requests", 6)
        target = Target(server.base_url, "fake")
        job = LoadJob(Workload(**shape), target, tmp_path, progress=progress, stop=stop, sink=sink)
        return StreamingLoad().generate(job)

    return run


def test_a_unix_socket_is_spoken_to(run, tmp_path):
    with fast_server(ttft=0, itl=0, unix=str(tmp_path / "socket")) as server:
        assert run(server).completed == 6


def test_ipv6_is_spoken(run):
    with fast_server(ttft=0, itl=0, host="::1") as server:
        assert server.base_url.startswith("http://[::1]:")
        assert run(server).completed == 6


def test_a_duration_ends_the_sending_and_not_the_answers(run):
    with fast_server(ttft=0.1, itl=0, record=True) as server:
        found = run(server, duration=0.35, concurrency=2)
        sent = len(server.answers())
    assert found.complete
    assert found.completed == sent
    assert found.samples.start.max() < 0.35
    assert found.duration > 0.35


def test_stages_change_how_many_are_in_flight(run):
    with fast_server(ttft=0.04, itl=0) as server:
        found = run(server, stages=Stages(concurrency=(1, 4), seconds=0.4))
    starts, ends = found.samples.start, found.samples.start + found.samples.latency
    at_once = np.array([np.sum((starts <= moment) & (ends > moment)) for moment in starts])
    assert at_once[starts < 0.39].max() == 1
    assert at_once.max() == 4


def test_turns_carry_the_answers_and_talks_keep_their_slot(run):
    with timed_server(ttft=0.01, itl=0) as server:
        found = run(server, num_requests=6, endpoint="chat", concurrency=1, sessions=Sessions(turns=3, think_time=0.05))
        bodies = [answer.body["messages"] for answer in server.answers()]
    assert [len(messages) for messages in bodies] == [1, 3, 5, 1, 3, 5]
    assert bodies[1][1] == {"role": "assistant", "content": " token" * 4}
    ends = found.samples.start + found.samples.closed
    thought = (found.samples.start[1:] - ends[:-1])[[0, 1, 3, 4]]
    assert np.all(thought >= 0.05)


def test_a_talk_ends_where_an_answer_failed(run):
    with FakeEngine(ttft=0, itl=0, fail_every=2) as engine:
        found = run(engine, num_requests=6, sessions=Sessions(turns=3))
    assert (found.completed, found.failed) == (2, 2)


def test_it_tells_how_far_it_has_come(run):
    seen: list[Progress] = []
    with fast_server(ttft=0.1, itl=0) as server:
        run(server, progress=seen.append, concurrency=2, num_requests=20)
    assert len(seen) >= 2
    assert all(0 <= progress.running <= 2 for progress in seen)
    assert [progress.completed for progress in seen] == sorted(progress.completed for progress in seen)
    assert seen[-1].output_tokens == 4 * seen[-1].completed
    assert seen[-1].ttft_p50 >= 0.1


def test_it_stops_when_asked_and_keeps_what_was_measured(run):
    with fast_server(ttft=0.05, itl=0) as server:
        found = run(server, stop=lambda: True, num_requests=10_000)
    assert not found.complete
    assert 0 < found.completed < 10_000
    assert any(note.startswith("stopped after") for note in found.notes)


def test_many_requests_are_made_while_the_load_runs_and_late_ones_are_counted(run, monkeypatch):
    monkeypatch.setattr("msprof_plugins.load.outbox.ALL_BEFORE", 10)
    monkeypatch.setattr("msprof_plugins.load.outbox.AHEAD", 20)
    with fast_server(ttft=0.002, itl=0, record=True) as server:
        found = run(server, num_requests=200, concurrency=2)
        prompts = {answer.body["prompt"] for answer in server.answers()}
    assert len(prompts) == 200
    assert 0 <= found.client["built_late"] <= 190


def test_the_client_says_what_it_used(run, tmp_path):
    with fast_server(ttft=0.02, itl=0.002) as server:
        found = run(server, num_requests=40, concurrency=4)
    assert 0 < found.client["cpu_share"] < 1
    assert found.client["workers"] == 1
    assert json.loads((tmp_path / "client.json").read_text()) == found.client


def test_a_client_that_was_busy_with_itself_is_named_as_the_bottleneck(run):
    def busy(_block):
        end = time.thread_time() + 0.6
        while time.thread_time() < end:
            pass

    with fast_server(ttft=0.01, itl=0) as server:
        found = run(server, num_requests=150, sink=busy)
    assert "late at p99" in found.client_limited or "of a core" in found.client_limited


def test_more_connections_than_files_are_made_room_for():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with fast_server(ttft=0.3, itl=0) as server:
        command = ["load", server.base_url, "--concurrency", "300", "--num-requests", "300", "--json", "-"]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest_msprof.cli", *command],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard)),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["completed"], found["failed"]) == (300, 0)


def test_the_limit_of_open_files_is_what_it_was_after_a_load():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with room_for(before[0] + 1 if before[0] < before[1] - 1000 else 1):
        pass
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_more_connections_than_the_system_allows_are_refused_with_the_way_out(run):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with (
        fast_server(ttft=0, itl=0) as server,
        pytest.raises(ConfigurationError, match=r"ulimit -Hn"),
    ):
        run(server, concurrency=hard, num_requests=2 * hard)
