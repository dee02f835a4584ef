"""What a million requests cost: seconds, and the most memory that a process of its own takes for it.

    python benchmarks/load_scale.py [samples] [metrics] [trace] [dataset] [synthetic]

`samples` reads a run of a million requests of 128 chunks, and `metrics` measures it, too; `trace`,
`dataset` and `synthetic` plan a million requests and make the first tenth of them. It ends with 1
where one of them took more than 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from pytest_msprof import Dataset, Trace, Workload
from pytest_msprof.blocks import append, read
from pytest_msprof.metrics import measure
from pytest_msprof.requests import output_tokens, plan
from pytest_msprof.samples import Samples

NUMBER, GAPS, BLOCK = 1_000_000, 127, 20_000
MADE = 100_000
"""Requests that are made in full."""
MOST = 2e9
"""Bytes."""


def main() -> int:
    """Do each in a process of its own, and print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[*DONE, []], help="all of them where none is named")
    parser.add_argument("--alone", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return alone(options.what[0], Path(options.alone))
    too_much = False
    print(f"{'':10}{'seconds':>9}{'MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for what in options.what or DONE:
            path = Path(folder) / what
            WRITTEN.get(what, Path.touch)(path)
            command = [sys.executable, __file__, what, "--alone", str(path)]
            ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds, memory = map(float, ended.stdout.split())
            print(f"{what:10}{seconds:9.1f}{memory / 1e6:8.0f}", flush=True)
            too_much |= memory > MOST
    return int(too_much)


def alone(what: str, path: Path) -> int:
    """Do one of them here, and tell seconds and bytes."""
    began = time.monotonic()
    DONE[what](path)
    print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return 0


def write_samples(path: Path) -> None:
    """Write a run of a million requests, block by block as a load does."""
    random, file = np.random.default_rng(0), os.open(path, os.O_CREAT | os.O_RDWR)
    tokens, none = np.full(BLOCK, GAPS + 1), np.zeros(BLOCK)
    for number in range(NUMBER // BLOCK):
        start = number + np.sort(random.random(BLOCK))
        samples = Samples(
            due=start,
            start=start,
            connect=none,
            ttft=random.random(BLOCK),
            latency=1 + random.random(BLOCK),
            closed=none + 2,
            input_tokens=tokens,
            output_tokens=tokens,
            first_tokens=np.ones_like(tokens),
            token_source=np.full(BLOCK, "usage"),
            finish_reason=np.full(BLOCK, "length"),
            error=np.full(BLOCK, ""),
            gaps=random.random(BLOCK * GAPS, dtype=np.float32),
            gap_offsets=np.arange(BLOCK + 1) * GAPS,
        )
        append(file, samples)
    os.close(file)


def write_trace(path: Path) -> None:
    """Write a trace in the words of Mooncake, ten blocks a request."""
    write_rows(
        path,
        (
            {"timestamp": place, "input_length": 640, "output_length": 50, "hash_ids": [*range(place, place + 10)]}
            for place in range(NUMBER)
        ),
    )


def write_dataset(path: Path) -> None:
    """Write questions of some two hundred letters and their answers."""
    rows = ({"prompt": f"{place} " + "what is that? " * 14, "answer": "a word " * 20} for place in range(NUMBER))
    write_rows(path, rows)


def write_rows(path: Path, rows: Iterator[dict[str, object]]) -> None:
    """Write JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read_samples(path: Path) -> Samples:
    """Read a run."""
    samples = read(path)
    if (len(samples), len(samples.gaps)) != (NUMBER, NUMBER * GAPS):
        raise SystemExit(f"{len(samples)} requests were read")
    return samples


def measure_samples(path: Path) -> None:
    """Read a run and compute its metrics."""
    if measure(read_samples(path), 100.0).distributions["itl"].n != NUMBER * GAPS:
        raise SystemExit("not all gaps were measured")


def begin(workload: Workload) -> None:
    """Plan a workload, make the first of its requests, and ask for the lengths of all."""
    requests = plan(workload, tokenizer=None).requests
    made = sum(request.output_tokens for request in islice(requests, MADE))
    asked = output_tokens(requests, np.arange(NUMBER))
    if len(requests) != NUMBER or made != asked[:MADE].sum():
        raise SystemExit(f"{len(requests)} requests ask for {asked.sum()} tokens")


WRITTEN: dict[str, Callable[[Path], None]] = {
    "samples": write_samples,
    "metrics": write_samples,
    "trace": write_trace,
    "dataset": write_dataset,
}
DONE: dict[str, Callable[[Path], object]] = {
    "samples": read_samples,
    "metrics": measure_samples,
    "trace": lambda path: begin(Workload(trace=Trace(path=path, format="mooncake", block_tokens=64))),
    "dataset": lambda path: begin(Workload(dataset=Dataset(path=path, format="jsonl"))),
    "synthetic": lambda _: begin(Workload(num_requests=NUMBER, input_tokens=512)),
}


if __name__ == "__main__":
    sys.exit(main())
