"""Large loads: many connections, many requests, many gaps, a long time."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest

from msprof_plugins.load import StreamingLoad
from pytest_msprof import Workload
from pytest_msprof.interfaces import LoadJob, Target
from pytest_msprof.testing import fast_server

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    """Run one load against a server."""

    def run(server, **workload):
        shape = {"input_tokens": 8, "output_tokens": 1, "warmup": 0, **workload}
        return StreamingLoad().generate(LoadJob(Workload(**shape), Target(server.base_url, "fake"), tmp_path))

    return run


def test_ten_thousand_connections_are_open_at_once(run):
    with fast_server(ttft=1.0, itl=0.2) as server:
        found = run(server, concurrency=10_000, num_requests=20_000, output_tokens=4)
        assert server.stats() == {"requests": 20_000, "connections": 10_001}
    assert (found.completed, found.failed) == (20_000, 0)


def test_a_hundred_thousand_answers_of_one_token_are_read(run):
    with fast_server(ttft=0, itl=0) as server:
        found = run(server, concurrency=64, num_requests=100_000)
    assert (found.completed, found.failed) == (100_000, 0)
    assert found.client["built_late"] == 0


def test_a_minute_at_a_constant_rate_takes_no_more_memory_than_its_samples(run):
    process = psutil.Process()
    with fast_server(ttft=0.01, itl=0.001) as server:
        run(server, request_rate=200.0, arrival="constant", num_requests=1000, output_tokens=16)
        before = process.memory_info().rss
        found = run(server, request_rate=200.0, arrival="constant", duration=60.0, output_tokens=16)
        grown = process.memory_info().rss - before
    assert found.completed >= 11_900
    assert grown < 3000 * found.completed
    lags = found.samples.start - found.samples.due
    half = lags.size // 2
    assert np.median(lags[half:]) < 2 * np.median(lags[:half]) + 0.001


MANY_GAPS = """
import os, resource, sys
import numpy as np
from pathlib import Path
from pytest_msprof.blocks import append, read
from pytest_msprof.metrics import measure
from pytest_msprof.samples import Samples

BLOCK, GAPS, path = 20_000, 127, Path(sys.argv[1])
random, file = np.random.default_rng(0), os.open(path, os.O_CREAT | os.O_RDWR)
for number in range(50):
    start, none = number + np.sort(random.random(BLOCK)), np.zeros(BLOCK)
    tokens = np.full(BLOCK, 128)
    append(file, Samples(
        due=start, start=start, connect=none, ttft=random.random(BLOCK), latency=1 + random.random(BLOCK),
        closed=none + 2, input_tokens=tokens, output_tokens=tokens, first_tokens=tokens // 128,
        token_source=np.full(BLOCK, "usage"), finish_reason=np.full(BLOCK, "length"), error=np.full(BLOCK, ""),
        gaps=random.random(BLOCK * GAPS, dtype=np.float32), gap_offsets=np.arange(BLOCK + 1) * GAPS,
    ))
found = measure(read(path), 100.0)
assert (found.completed, found.distributions["itl"].n) == (1_000_000, 127_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_million_requests_of_128_chunks_are_read_and_measured_in_two_gigabytes(tmp_path):
    command = [sys.executable, "-c", MANY_GAPS, str(tmp_path / "samples")]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    assert int(found.stdout) < 2_000_000
