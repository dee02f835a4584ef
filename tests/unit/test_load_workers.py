"""A load that several processes send is the load that one would have sent."""

from __future__ import annotations

import os
import signal

import numpy as np
import psutil
import pytest

from msprof_plugins.load import StreamingLoad
from msprof_plugins.load.division import part_of, workers_for
from pytest_msprof import Workload
from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.requests import plan
from pytest_msprof.samples import Samples
from pytest_msprof.testing import FakeEngine, fast_server


@pytest.fixture
def run(tmp_path):
    """Run one load against a server with two workers."""

    def run(server, *, workers=2, sink=None, progress=None, stop=None, **workload):
        shape = {"output_tokens": 4, "num_requests": 40, "warmup": 0, "timeout": 10.0, **workload}
        target = Target(server.base_url, "fake", request_options=lambda n: {"max_tokens": n, "seed": 7})
        job = LoadJob(
            Workload(**shape), target, tmp_path, fields={"workers": workers}, sink=sink, progress=progress, stop=stop
        )
        return StreamingLoad().generate(job)

    return run


def test_each_request_is_sent_once_and_stands_in_its_place(run):
    blocks: list[Samples] = []
    with fast_server(ttft=0.01, itl=0, record=True) as server:
        found = run(server, concurrency=4, warmup=3, sink=blocks.append)
        sent = [answer.body["prompt"] for answer in server.answers()]
    workload = Workload(output_tokens=4, num_requests=40, warmup=3, concurrency=4)
    assert sorted(sent[3:]) == sorted(request.prompt for request in plan(workload, tokenizer=None).requests)
    assert (found.completed, found.client["workers"]) == (40, 2)
    assert len(Samples.concatenate(blocks)) == 40
    assert found.samples.start.min() >= 0


def test_an_open_loop_is_due_on_one_clock(run):
    with fast_server(ttft=0.01, itl=0) as server:
        found = run(server, request_rate=200.0, arrival="constant")
    assert np.all(np.diff(found.samples.due) > 0)
    assert np.all(found.samples.start >= found.samples.due)


def test_the_slots_are_divided_and_none_is_lost(run):
    with FakeEngine(ttft=0.05, itl=0) as engine:
        run(engine, concurrency=5, num_requests=20)
        assert engine.stats()["most_running"] == 5


def test_failures_of_all_workers_are_counted(run):
    with FakeEngine(ttft=0, itl=0, fail="http503", fail_every=4) as engine:
        found = run(engine, concurrency=2)
    assert (found.completed, found.errors) == (30, {"status 503": 10})


def test_all_workers_stop_when_asked(run):
    seen = []
    with fast_server(ttft=0.05, itl=0) as server:
        found = run(server, concurrency=2, num_requests=10_000, progress=seen.append, stop=lambda: len(seen) >= 2)
    assert not found.complete
    assert 0 < found.completed < 10_000
    assert seen[-1].running <= 2


def test_a_worker_that_dies_ends_the_load_and_leaves_nobody(run):
    def kill(_progress):
        workers = [child for child in psutil.Process().children() if "msprof_plugins.load.worker" in child.cmdline()]
        if workers:
            os.kill(workers[0].pid, signal.SIGKILL)

    with fast_server(ttft=0.05, itl=0) as server, pytest.raises(LoadError, match="ended without a result"):
        run(server, concurrency=2, num_requests=10_000, progress=kill)
    assert not [child for child in psutil.Process().children() if "msprof_plugins.load.worker" in child.cmdline()]


def test_an_interrupt_keeps_what_all_workers_measured(run):
    blocks: list[Samples] = []
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with fast_server(ttft=0.02, itl=0, record=True) as server:
        with pytest.raises(KeyboardInterrupt):
            run(server, concurrency=2, num_requests=10_000, sink=blocks.append, progress=interrupt)
        answered = len(server.answers())
    assert answered - 4 <= len(Samples.concatenate(blocks)) <= answered


def test_more_workers_than_slots_are_refused(run):
    with fast_server() as server, pytest.raises(ConfigurationError, match="1 to 2, but got 3"):
        run(server, workers=3, concurrency=2)


def test_parts_are_the_whole():
    whole = plan(Workload(num_requests=17, request_rate=10.0, concurrency=7), tokenizer=None)
    parts = [part_of(whole, index, 3) for index in range(3)]
    assert sum(part.concurrency for part in parts) == 7
    assert sorted(np.concatenate([part.due for part in parts])) == whole.due.tolist()
    assert {request.prompt for part in parts for request in part.requests} == {r.prompt for r in whole.requests}


@pytest.mark.parametrize(
    ("workload", "processors", "wanted"),
    [
        ({"concurrency": 64}, 64, 1),
        ({"concurrency": 1000, "num_requests": 4000}, 64, 3),
        ({"concurrency": 1000, "num_requests": 4000}, 2, 1),
        ({"request_rate": 2000.0, "output_tokens": 128}, 64, 7),
        ({"request_rate": 2000.0, "output_tokens": 128}, 8, 4),
    ],
)
def test_high_rates_take_more_processes_where_there_are_processors(monkeypatch, workload, processors, wanted):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    shape = Workload(**workload)
    assert workers_for(shape, plan(shape, tokenizer=None)) == wanted
