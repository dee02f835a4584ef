"""Whether a load at a constant rate takes ever more memory, or falls ever further behind its schedule.

    python benchmarks/load_soak.py [--seconds 1200] [--rate 200] [--tokens 16]

It prints the memory of the client and the lag of its schedule over ten stretches of the load, and ends
with 1 where one of them grew. The requests that were measured are kept, which takes memory in any case:
what counts is the memory beyond theirs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from msprof_plugins.load import StreamingLoad
from pytest_msprof import Workload
from pytest_msprof.interfaces import LoadJob, Progress, Target
from pytest_msprof.samples import Samples
from pytest_msprof.testing import fast_server

STRETCHES = 10
SETTLED = 3
"""Stretches after which everything is loaded, and grown that grows once."""
MEMORY_A_REQUEST = 200.0
"""Bytes beyond those of its own figures that a request may leave behind."""
MEMORY = 4e6
"""Bytes by which a process may grow for reasons of its allocator."""
LAG = 0.002
"""Seconds by which the median lag may be longer at the end, where it is not twice what it was."""


class Look(NamedTuple):
    """One look at the process."""

    elapsed: float
    memory: float
    """Bytes in use."""
    ended: int
    """Requests that had ended."""


class Stretch(NamedTuple):
    """A tenth of the load."""

    until: float
    """Seconds."""
    memory: float
    """Median bytes in use, those of the figures of requests taken off."""
    requests: float
    """That had ended by then, the median as well."""
    lag: float
    """Median seconds from due to start."""
    late: float
    """The 99th percentile of them."""


def main() -> int:
    """Soak, print, and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    options = parser.parse_args()
    looks, samples = soak(options.seconds, options.rate, options.tokens)
    found = list(stretches(looks, samples, options.seconds))
    print(f"{'until s':>8}{'requests':>10}{'memory MB':>11}{'lag p50 ms':>12}{'p99':>8}")
    for one in found:
        print(f"{one.until:8.0f}{one.requests:10.0f}{one.memory / 1e6:11.1f}{one.lag * 1e3:12.3f}{one.late * 1e3:8.2f}")
    grown = list(growth(found[SETTLED], found[-1]))
    print("\n".join(grown) or "neither memory nor lag grew")
    return int(bool(grown))


def soak(seconds: float, rate: float, tokens: int) -> tuple[list[Look], Samples]:
    """Send the load and look at the process four times a second."""
    process, looks = psutil.Process(), []

    def look(progress: Progress) -> None:
        ended = progress.completed + progress.failed
        looks.append(Look(progress.elapsed, process.memory_info().rss, ended))

    load = Workload(
        request_rate=rate, arrival="constant", duration=seconds, input_tokens=8, output_tokens=tokens, warmup=16
    )
    with fast_server(ttft=0.01, itl=0.001) as server, tempfile.TemporaryDirectory() as folder:
        job = LoadJob(load, Target(server.base_url, "fake"), Path(folder), progress=look)
        samples = StreamingLoad().generate(job).samples
    if samples is None or not samples.ok.all():
        raise SystemExit("requests failed: nothing can be said")
    return looks, samples


def stretches(looks: list[Look], samples: Samples, seconds: float) -> Iterator[Stretch]:
    """Sum up each tenth of the load."""
    size = sum(column.nbytes for column in samples.columns().values()) / len(samples)
    lags: NDArray[np.float64] = samples.start - samples.due
    for number in range(STRETCHES):
        begin, end = seconds * number / STRETCHES, seconds * (number + 1) / STRETCHES
        seen = [one for one in looks if begin <= one.elapsed < end]
        late = lags[(samples.due >= begin) & (samples.due < end)]
        yield Stretch(
            until=end,
            memory=float(np.median([one.memory - size * one.ended for one in seen])),
            requests=float(np.median([one.ended for one in seen])),
            lag=float(np.median(late)),
            late=float(np.percentile(late, 99)),
        )


def growth(early: Stretch, last: Stretch) -> Iterator[str]:
    """Say what grew from one stretch to another."""
    grown, allowed = last.memory - early.memory, MEMORY + MEMORY_A_REQUEST * (last.requests - early.requests)
    if grown > allowed:
        seconds = last.until - early.until
        yield f"memory grew by {grown / 1e6:.1f} MB in {seconds:.0f} s, {allowed / 1e6:.1f} MB are allowed"
    if last.lag > 2 * early.lag + LAG:
        yield f"the median lag grew from {early.lag * 1e3:.2f} ms to {last.lag * 1e3:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
