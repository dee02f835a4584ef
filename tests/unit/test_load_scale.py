"""Large loads: many connections, many requests, many gaps, a long time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from msprof_plugins.load import StreamingLoad
from pytest_msprof import Workload
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.testing import fast_server

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(tmp_path):
    """Run one load against a server."""

    def run(server, **workload):
        shape = {"input_tokens": 8, "output_tokens": 1, "warmup": 0, **workload}
        return StreamingLoad().generate(LoadJob(Workload(**shape), Target(server.base_url, "fake"), tmp_path))

    return run


@pytest.mark.slow
def test_ten_thousand_connections_are_open_at_once(run):
    with fast_server(ttft=1.0, itl=0.2) as server:
        found = run(server, concurrency=10_000, num_requests=20_000, output_tokens=4)
        assert server.stats() == {"requests": 20_000, "connections": 10_001}
    assert (found.completed, found.failed) == (20_000, 0)


@pytest.mark.slow
def test_a_hundred_thousand_answers_of_one_token_are_read(run):
    with fast_server(ttft=0, itl=0) as server:
        found = run(server, concurrency=64, num_requests=100_000)
    assert (found.completed, found.failed) == (100_000, 0)
    assert found.client["built_late"] == 0


def test_a_minute_at_a_constant_rate_grows_neither_memory_nor_lag():
    command = [sys.executable, str(BENCHMARKS / "load_soak.py"), "--seconds", "60"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "neither memory nor lag grew" in found.stdout


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"memory": 70e6, "requests": 50_000}, []),
        ({"memory": 90e6, "requests": 50_000}, ["memory grew by 30.0 MB in 42 s, 12.0 MB are allowed"]),
        ({"lag": 0.02}, ["the median lag grew from 0.10 ms to 20.00 ms"]),
        ({"late": 5.0}, []),
    ],
)
def test_what_grew_is_said(monkeypatch, last, words):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from load_soak import Stretch, growth

    early = Stretch(until=18.0, memory=60e6, requests=10_000, lag=0.0001, late=0.002)
    assert list(growth(early, early._replace(**{"until": 60.0, **last}))) == words


@pytest.mark.slow
@pytest.mark.parametrize("what", ["metrics", "trace", "dataset", "synthetic"])
def test_a_million_requests_take_less_than_two_gigabytes(what):
    command = [sys.executable, str(BENCHMARKS / "load_scale.py"), what]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
