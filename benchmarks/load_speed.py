"""How fast load generators are: chunks a second, processor seconds, and the way to the first request.

    python benchmarks/load_speed.py [--clients ours,vllm-rs,vllm] [--rounds 5] [--slow-rounds 2]

All installed clients send the same loads to one server, in turn, round after round; medians are shown
with their spread and as ratios to ours: absolute figures depend on the machine and on who else uses
it. Processor seconds are those beyond a run of a few requests, so that imports and tokenizers are
left out; the start has a column of its own. The server takes the times: first request in, last token
out. Clients in Python, which import for 10 to 40 seconds, get fewer rounds, and one paced run. A client
that fails or takes too long is named with the reason, and the others go on.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from load_clients import CLIENTS, ClientFailed, Load, Spent, installed, send

from pytest_msprof.testing import fast_server

FEW = 64
FAST = Load("", 1600, 64)
PACED = Load("", 2048, 256)
LENGTH = 64
NATIVE = ("vllm-rs", "perf_analyzer", "sglang-bench")


class Figures(NamedTuple):
    """What one round found of one client."""

    chunk_rate: float
    """Chunks a second, as fast as possible at concurrency 64."""
    cpu: float
    """Processor seconds of these 102,400 chunks."""
    paced_cpu: float
    """Processor seconds of 131,072 chunks at concurrency 256, 50 and 10 ms apart; NaN where not measured."""
    start: float
    """Seconds from the command to the first request."""

    @property
    def efficiency(self) -> float:
        """Chunks a processor second, as fast as possible."""
        return FAST.requests * LENGTH / self.cpu


TITLES = ("chunks/s", "CPU s", "paced CPU s", "start s")

Found = Mapping[str, Sequence[Figures]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2, help="rounds of clients that import for 10 to 40 seconds")
    options = parser.parse_args()
    found: dict[str, list[Figures]] = {client: [] for client in installed(options.clients.split(","))}
    failed: dict[str, str] = {}
    few: dict[str, Few] = {}
    for number in range(max(options.rounds, options.slow_rounds)):
        for client, figures in found.items():
            rounds = options.rounds if CLIENTS[client].is_native else options.slow_rounds
            if client in failed or number >= rounds:
                continue
            try:
                if client not in few or CLIENTS[client].is_native:
                    few[client] = start(client)
                figures.append(measure(client, few[client], is_paced=CLIENTS[client].is_native or not figures))
            except ClientFailed as failure:
                failed[client] = f"round {number + 1}: {failure}"
    show({client: figures for client, figures in found.items() if figures})
    if "ours" in found and "ours" not in failed:
        show_start([start("ours", is_exact=False).start for _ in range(options.rounds)])
    for client, reason in failed.items():
        print(f"{client}: {reason}")


class Few(NamedTuple):
    """What a run of a few requests costs: all that is not sending."""

    cpu: float
    start: float
    """Seconds from the command to the first request."""


def start(client: str, *, is_exact: bool = True) -> Few:
    """Send a few requests."""
    with fast_server(ttft=0, itl=0, record=True) as server:
        spent = run(client, Load(server.base_url, FEW, FEW, is_exact=is_exact))
        return Few(spent.cpu, min(answer.arrived for answer in server.answers()) - spent.began)


def measure(client: str, few: Few, *, is_paced: bool) -> Figures:
    """Run one client as fast as possible, and, which takes longer, paced."""
    with fast_server(ttft=0, itl=0, record=True) as server:
        spent = run(client, FAST._replace(url=server.base_url))
        answers = server.answers()
    begin = min(answer.arrived for answer in answers)
    seconds = max(answer.last for answer in answers) - begin
    figures = Figures(FAST.requests * LENGTH / seconds, spent.cpu - few.cpu, math.nan, few.start)
    if not is_paced:
        return figures
    with fast_server(ttft=0.05, itl=0.01) as server:
        paced = run(client, PACED._replace(url=server.base_url))
    return figures._replace(paced_cpu=paced.cpu - few.cpu)


def run(client: str, load: Load) -> Spent:
    """Send one load in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="msprof-speed-") as folder:
        return send(client, load, Path(folder))


def show(found: Found) -> None:
    """Print a line a client: median, spread, and the ratio to ours; then what is aimed at."""
    medians = {client: median(figures) for client, figures in found.items()}
    ours = medians.get("ours", next(iter(medians.values())))
    print(f"{'client':14}" + "".join(f"{title + ' (ratio to ours)':>34}" for title in TITLES) + "   rounds")
    for client, figures in found.items():
        columns = zip(*figures, strict=True)
        cells = [cell(column, own) for column, own in zip(columns, ours, strict=True)]
        print(f"{client:14}" + "".join(f"{text:>34}" for text in cells) + f"{len(figures):9}")
    if "ours" in medians:
        show_goals(medians)


def cell(values: Sequence[float], ours: float) -> str:
    """Return the median of *values*, half their range in percent of it, and its ratio to *ours*."""
    values = known(values)
    middle = statistics.median(values)
    spread = f" ±{50 * (max(values) - min(values)) / abs(middle):.0f}%" if len(values) > 1 and middle else ""
    return f"{middle:,.4g}{spread} ({middle / ours:.2f})"


def median(figures: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(*(statistics.median(known(column)) for column in zip(*figures, strict=True)))


def known(values: Sequence[float]) -> Sequence[float]:
    """Return what was measured."""
    return [value for value in values if not math.isnan(value)]


def show_goals(medians: Mapping[str, Figures]) -> None:
    """Print our ratios to the best native client, and to the two that are most used."""
    ours, native = medians["ours"], [medians[client] for client in NATIVE if client in medians]
    print()
    if native:
        rate, cpu = max(one.chunk_rate for one in native), min(one.cpu for one in native)
        print(
            f"ours / best native client: {ours.chunk_rate / rate:.2f} of its chunk rate (goal 0.65 or more), ", end=""
        )
        print(f"{ours.cpu / cpu:.2f} of its CPU (goal 1.2 or less)")
    for client, goal in (("vllm", 4), ("aiperf", 7)):
        if client in medians:
            times = ours.efficiency / medians[client].efficiency
            print(f"ours / {client}: {times:.1f} times the chunks a CPU second (goal {goal} or more)")
    print(f"ours, first request after {ours.start:.2f} s with exact lengths (goal 1.2 or less)")


def show_start(seconds: Sequence[float]) -> None:
    """Print how soon we send where lengths are free."""
    print(f"ours, first request after {statistics.median(seconds):.2f} s with free lengths (goal 0.4 or less)")


if __name__ == "__main__":
    main()
