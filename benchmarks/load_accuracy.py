"""How exact load generators are: what they report beside what the server really sent.

    python benchmarks/load_accuracy.py [--clients ours,vllm-rs,vllm] [--rounds 3] [--loads 1,16,64,256,50/s,500/s]
        [--peer-rounds 1] [--slow-loads 16,256]

The server keeps an absolute schedule (50 ms to the first token, 10 ms between tokens) and tells of
each request when its bytes had arrived in the kernel and when each token left, so that its own
lateness, in reading and in sending, is no error of the client. Answers are paired by the order in
which the requests were sent, and an error is that of one request: what the client says of it less
what the server did. `p50` is the median of these errors, `p99` the 99th percentile of their sizes,
in milliseconds.

Clients take turns. Each figure is the median of the rounds; `±` is half of what lies between the
best and the worst p99. Where there are two processors, the server has one for itself. Peers get fewer
rounds, and those in Python, which import for 10 to 40 seconds, fewer loads. One that fails or takes
too long is named, and the others go on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from load_clients import CLIENTS, ClientFailed, Load, installed, send

from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import quantities
from pytest_msprof.samples import Samples
from pytest_msprof.testing import SentAnswer, fast_server

TOKENS = 64
QUANTITIES = ("ttft", "itl", "tpot", "latency")
LOADS = "1,16,64,256,50/s,500/s"
SLOW_LOADS = "16,256"
SECONDS = 4
"""How long an open loop lasts."""
GOALS = {"p50": 0.0003, "p99": 0.001}
"""Seconds that are allowed."""

Columns = Mapping[str, NDArray[np.floating]]


class Error(NamedTuple):
    """By how many seconds a client was wrong about one quantity."""

    p50: float
    p99: float

    @property
    def is_small(self) -> bool:
        """Whether the goals are met."""
        return abs(self.p50) <= GOALS["p50"] and self.p99 <= GOALS["p99"]


Round = Mapping[str, Error]
UNKNOWN = Error(np.nan, np.nan)


def main() -> int:
    """Measure and print; 1 where our own client misses a goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loads", default=LOADS, help="as many at once, or so many a second: %(default)s")
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument("--slow-loads", default=SLOW_LOADS, help="loads of clients in Python: %(default)s")
    options = parser.parse_args()
    titles = "".join(f"{name + ' p50':>13}{'p99':>8}{'±':>7}" for name in QUANTITIES)
    print(f"{'load':16} {'client':13}{titles}   (ms)")
    missed = False
    for text in options.loads.split(","):
        load, rounds = load_of(text), rounds_of(text, options)
        found: dict[str, list[Round]] = {client: [] for client in rounds}
        for number in range(max(rounds.values(), default=0)):
            for client in [client for client, wanted in rounds.items() if number < wanted]:
                found[client].append(measure(client, load))
        for client, errors in found.items():
            cells = {name: summed([one[name] for one in errors]) for name in QUANTITIES}
            show(load, client, errors, cells)
            missed |= client == "ours" and not all(error.is_small for error in cells.values())
    return int(missed)


def rounds_of(text: str, options: argparse.Namespace) -> dict[str, int]:
    """Return how often each client gets the load *text*."""
    clients, slow_loads = installed(options.clients.split(",")), options.slow_loads.split(",")
    here = [client for client in clients if CLIENTS[client].is_native or text in slow_loads]
    return {client: options.rounds if client == "ours" else options.peer_rounds for client in here}


def load_of(text: str) -> Load:
    """Read one load, without the server's address; each takes some seconds."""
    if text.endswith("/s"):
        rate = float(text[:-2])
        return Load("", int(SECONDS * rate), 0, TOKENS, rate=rate)
    return Load("", max(16, 4 * int(text)), int(text), TOKENS)


def summed(errors: Sequence[Error]) -> Error:
    """Return the medians of all rounds."""
    return Error(*(float(np.median(column)) for column in zip(*errors, strict=True)))


def show(load: Load, client: str, rounds: Sequence[Round], cells: Round) -> None:
    """Print one line; a star stands behind what misses a goal."""
    line = f"{f'{load.rate:g} requests/s' if load.rate else f'{load.concurrency} at once':16} {client:13}"
    for name, error in cells.items():
        spread = np.ptp([one[name].p99 for one in rounds]) / 2
        star = " " if error.is_small else "*"
        line += f"{error.p50 * 1e3:>+13.2f}{error.p99 * 1e3:>8.2f}{spread * 1e3:>6.2f}{star}"
    print(line, flush=True)


def measure(client: str, load: Load) -> Round:
    """Send one load and return the errors, NaN where the client failed."""
    with fast_server(ttft=0.05, itl=0.01, record=True) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        everywhere = os.sched_getaffinity(0)
        own = {min(everywhere)}
        try:
            if everywhere - own:
                os.sched_setaffinity(server.process.pid, own)
                os.sched_setaffinity(0, everywhere - own)  # a client inherits it
            send(client, load._replace(url=server.base_url), folder)
            answers = sorted(server.answers(), key=lambda answer: answer.arrived)[-load.requests :]
            return errors(samples_of(client, folder), answers)
        except (ClientFailed, LoadError) as error:
            print(f"{client}: {error}", file=sys.stderr)
            return dict.fromkeys(QUANTITIES, UNKNOWN)
        finally:
            os.sched_setaffinity(0, everywhere)


def samples_of(client: str, folder: Path) -> Samples:
    """Return the requests as *client* saw them."""
    samples = CLIENTS[client].samples(folder)
    if samples is None:
        raise ClientFailed("kept no requests")
    return samples


def errors(samples: Samples, answers: Sequence[SentAnswer]) -> Round:
    """Pair requests with answers, both in the order of their begin, and return how far they differ."""
    if len(samples) != len(answers):
        raise ClientFailed(f"{len(samples)} requests were sent, but {len(answers)} answered")
    found = quantities(samples.take(np.argsort(samples.start, kind="stable")))
    sent = what_was_sent(answers)
    return {name: error_of(found[name], sent[name]) for name in QUANTITIES}


def error_of(found: NDArray[np.floating], sent: NDArray[np.floating]) -> Error:
    """Return the median, and how large nearly all are at most; NaN where a client lost some."""
    if found.shape != sent.shape:
        return UNKNOWN
    differences = found - sent
    return Error(float(np.nanmedian(differences)), float(np.nanpercentile(np.abs(differences), 99)))


def what_was_sent(answers: Sequence[SentAnswer]) -> Columns:
    """Return the true values: from the arrival of each request to each of its tokens."""
    first = np.array([answer.first - answer.arrived for answer in answers])
    last = np.array([answer.last - answer.arrived for answer in answers])
    gaps = [np.diff([moment for moment, _ in answer.tokens]) for answer in answers]
    return {"ttft": first, "latency": last, "tpot": (last - first) / (TOKENS - 1), "itl": np.concatenate(gaps)}


if __name__ == "__main__":
    sys.exit(main())
