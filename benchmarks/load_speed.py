"""How fast load generators are: chunks a second, processor seconds, and the way to the first request.

    python benchmarks/load_speed.py [--clients ours,vllm-rs,vllm,aiperf] [--rounds 3]

All installed clients send the same loads to one server, in turn, and medians are shown as ratios to
ours: absolute figures depend on the machine and on who else uses it. Processor seconds are those
beyond a run of a few requests, so that imports and tokenizers are left out; the start has a column
of its own. The server takes the times: first request in, last token out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from load_clients import CLIENTS, Load, installed, send

from pytest_msprof.testing import fast_server

FEW = 64


class Figures(NamedTuple):
    """What one round found of one client."""

    chunk_rate: float
    """Chunks a second, as fast as possible at concurrency 64."""
    cpu: float
    """Processor seconds of these 102,400 chunks."""
    paced_cpu: float
    """Processor seconds of 131,072 chunks at concurrency 256, 50 ms to the first and 10 ms between them."""
    start: float
    """Seconds from the command to the first request."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    clients = installed(options.clients.split(","))
    found: dict[str, list[Figures]] = {client: [] for client in clients}
    for _ in range(options.rounds):
        for client in clients:
            found[client].append(measure(client))
    show({client: median(figures) for client, figures in found.items()})


def measure(client: str) -> Figures:
    """Run one client: fast and paced, and each time a few requests alone for comparison."""
    with fast_server(ttft=0, itl=0, record=True) as server:
        few = run(client, Load(server.base_url, FEW, 64))
        spent = run(client, Load(server.base_url, 1600, 64))
        answers = sorted(server.answers(), key=lambda answer: answer.arrived)
    alone, fast = answers[:FEW], answers[-1600:]
    seconds = max(answer.last for answer in fast) - fast[0].arrived
    with fast_server(ttft=0.05, itl=0.01) as server:
        paced = run(client, Load(server.base_url, 2048, 256))
    return Figures(1600 * 64 / seconds, spent.cpu - few.cpu, paced.cpu - few.cpu, alone[0].arrived - few.began)


def run(client: str, load: Load):  # noqa: ANN201 - what `send` returns
    """Send one load in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="msprof-speed-") as folder:
        return send(client, load, Path(folder))


def median(figures: Iterable[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(*(statistics.median(column) for column in zip(*figures, strict=True)))


def show(found: dict[str, Figures]) -> None:
    """Print a line a client: figures, and in brackets their ratio to ours."""
    ours = found.get("ours", next(iter(found.values())))
    print(f"{'client':10} {'chunks/s':>18} {'CPU s':>14} {'paced CPU s':>16} {'start s':>14}")
    for client, figures in found.items():
        cells = [f"{value:,.4g} ({value / own:.2f})" for value, own in zip(figures, ours, strict=True)]
        print(f"{client:10} {cells[0]:>18} {cells[1]:>14} {cells[2]:>16} {cells[3]:>14}")


if __name__ == "__main__":
    main()
