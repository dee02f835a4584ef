"""How exact load generators are: what they report beside what the server really sent.

    python benchmarks/load_accuracy.py [--clients ours,vllm-rs,vllm]

The server keeps an absolute schedule (50 ms to the first token, 10 ms between tokens) and tells when
it sent each one, so that its own lateness is no error of the client. An error is the percentile that
the client found less the percentile of what was sent, in milliseconds: positive where the client
adds time that was not there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from load_clients import CLIENTS, Load, installed, send

from pytest_msprof.metrics import quantities
from pytest_msprof.samples import Samples
from pytest_msprof.testing import SentAnswer, fast_server

TOKENS = 64
QUANTITIES = ("ttft", "itl", "tpot", "latency")
CLOSED = (1, 16, 64, 256)
OPEN = (50.0, 500.0)

Columns = Mapping[str, NDArray[np.floating]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", default="ours,vllm-rs,vllm")
    clients = installed(parser.parse_args().clients.split(","))
    titles = "".join(f"{name + ' p50':>13}{'p99':>8}" for name in QUANTITIES)
    print(f"{'load':16} {'client':9}{titles}   (ms)")
    for load in loads():
        for client in clients:
            errors = measure(client, load)
            cells = "".join(f"{errors[name, 50] * 1e3:>+13.2f}{errors[name, 99] * 1e3:>+8.2f}" for name in QUANTITIES)
            shape = f"{load.rate:g} requests/s" if load.rate else f"{load.concurrency} at once"
            print(f"{shape:16} {client:9}{cells}", flush=True)


def loads() -> Sequence[Load]:
    """Return the loads, without the server's address; each takes some seconds."""
    closed = [Load("", max(16, 4 * concurrency), concurrency, TOKENS) for concurrency in CLOSED]
    return [*closed, *(Load("", int(4 * rate), 0, TOKENS, rate=rate) for rate in OPEN)]


def measure(client: str, load: Load) -> dict[tuple[str, int], float]:
    """Send one load and return the error of each percentile in seconds, NaN where the client failed."""
    with fast_server(ttft=0.05, itl=0.01, record=True) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            send(client, load._replace(url=server.base_url), folder)
        except subprocess.SubprocessError as error:
            print(f"{client}: {error}", file=sys.stderr)
            return {(quantity, q): float("nan") for quantity in QUANTITIES for q in (50, 99)}
        found = quantities(samples_of(client, folder))
        sent = what_was_sent(server.answers()[-load.requests :])
    return {
        (quantity, q): float(np.nanpercentile(found[quantity], q) - np.percentile(sent[quantity], q))
        for quantity in QUANTITIES
        for q in (50, 99)
    }


def samples_of(client: str, folder: Path) -> Samples:
    """Return the requests as *client* saw them."""
    samples = CLIENTS[client].samples(folder)
    if samples is None:
        raise SystemExit(f"{client} kept no requests")
    return samples


def what_was_sent(answers: Sequence[SentAnswer]) -> Columns:
    """Return the true values: from the arrival of each request to each of its tokens."""
    first = np.array([answer.first - answer.arrived for answer in answers])
    last = np.array([answer.last - answer.arrived for answer in answers])
    gaps = [np.diff([moment for moment, _ in answer.tokens]) for answer in answers]
    return {"ttft": first, "latency": last, "tpot": (last - first) / (TOKENS - 1), "itl": np.concatenate(gaps)}


if __name__ == "__main__":
    main()
