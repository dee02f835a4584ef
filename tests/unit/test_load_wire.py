"""What is sent goes at once, and what arrives has the moment at which it arrived."""

from __future__ import annotations

import asyncio
import socket
import time

import numpy as np
import pytest

from msprof_plugins.load import StreamingLoad, inbox
from msprof_plugins.load.inbox import Inbox
from msprof_plugins.load.wire import SocketWire
from pytest_msprof import Workload
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.testing import FakeEngine, fast_server

CLOCKS_DIFFER = 0.0002
"""Seconds by which two clocks may be wrong about each other where nobody was interrupted."""


@pytest.fixture
def run(tmp_path):
    """Run one load against a server."""

    def run(server, **workload):
        shape = {"output_tokens": 4, "num_requests": 200, "warmup": 0, "timeout": 30.0, **workload}
        job = LoadJob(Workload(**shape), Target(server.base_url, "fake"), tmp_path)
        return StreamingLoad().generate(job)

    return run


class Deaf:
    """Hears nothing that is not expected."""

    def arrived(self, data, moment):
        raise AssertionError(f"{len(data)} bytes at {moment}")

    def lost(self, words):
        raise AssertionError(words)


def connected():
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        there = socket.create_connection(listener.getsockname())
        here, _ = listener.accept()
    return here, there


def test_what_lay_unread_has_the_moment_at_which_it_came():
    here, there = connected()
    box = Inbox()
    with here, there:
        box.admit(here)
        delays = []
        while len(delays) < 20:
            there.send(b"data: 1\n\n")
            sent = time.monotonic()
            time.sleep(0.01)
            data, moment = box.receive(here)
            assert bytes(data) == b"data: 1\n\n"
            delays.append(moment - sent)
    assert min(delays) < CLOCKS_DIFFER


def test_without_a_stamp_the_moment_is_that_of_reading():
    here, there = socket.socketpair()
    box = Inbox()
    with here, there:
        box.admit(here)
        there.send(b"1")
        before = time.monotonic()
        data, moment = box.receive(here)
        assert bytes(data) == b"1"
        assert before <= moment <= time.monotonic()
        there.close()
        assert not box.receive(here)[0]


def test_each_request_of_a_burst_is_on_its_way_before_the_next_one_is_stamped(run):
    with fast_server(ttft=0.5, itl=0, record=True) as server:
        found = run(server, arrival="burst")
        arrived = np.sort([answer.arrived for answer in server.answers()])
    starts = np.sort(found.samples.start) + found.began
    assert np.median(arrived[:-1] - starts[1:]) < 0


def test_no_time_is_shorter_than_what_the_server_did(run):
    with fast_server(ttft=0.05, itl=0.01, record=True) as server:
        found = run(server, concurrency=16)
        answers = sorted(server.answers(), key=lambda answer: answer.arrived)
    order = np.argsort(found.samples.start)
    true = np.array([answer.last - answer.arrived for answer in answers])
    assert np.all(found.samples.latency[order] > true - CLOCKS_DIFFER)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_is_set_while_a_load_runs_turns_no_order_around(run, monkeypatch, seconds):
    true, wrong = inbox._distance, iter([0, 0, seconds, 0, seconds, 0, 0, seconds])
    monkeypatch.setattr(inbox, "_distance", lambda: true() + next(wrong, 0) * 10**9)
    with fast_server(ttft=0.05, itl=0.01) as server:
        found = run(server, num_requests=8, concurrency=2, output_tokens=12)
    assert found.completed == 8
    assert found.samples.ttft.min() >= 0
    assert found.samples.gaps.min() >= 0
    assert found.samples.latency.max() <= found.duration


def test_a_request_larger_than_any_buffer_arrives_whole(run):
    with FakeEngine(ttft=0, itl=0, record=True) as engine:
        found = run(engine, num_requests=2, concurrency=2, extra_body={"padding": "x" * 8_000_000})
        assert [len(answer.body["padding"]) for answer in engine.answers()] == [8_000_000] * 2
    assert found.completed == 2


def test_what_follows_a_request_that_waits_for_room_comes_after_it():
    here, there = connected()
    sent = [letter * 3_000_000 for letter in (b"a", b"b", b"c")]

    async def work() -> bytes:
        wire = SocketWire(here, Inbox(), Deaf())
        for data in sent:
            wire.send(data)
        came = bytearray()
        while len(came) < sum(map(len, sent)):
            came += await asyncio.get_running_loop().sock_recv(there, 1 << 20)
        wire.close()
        return bytes(came)

    here.setblocking(False)
    there.setblocking(False)
    with here, there:
        assert asyncio.run(work()) == b"".join(sent)
