"""How often verdicts are wrong: same against same, and true changes, on a simulated continuous-batching server.

    python benchmarks/verdicts.py [--pairs 300] [--seed 1]

Launches of one configuration differ by 5 %, the loads of one launch by what its requests make of it: requests queue for
places in a batch and each step costs more the fuller the batch is, so that neighbours resemble each other. Both sides
replay the same requests. Methods that take requests, or loads, for independent stand beside ours, to show what they do.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from pytest_msprof.statistics import shift
from pytest_msprof.verdicts import Known, judge

BETWEEN = 0.05
"""Standard deviation between launches, on the log scale."""
LOADS, REQUESTS, PLACES = 3, 120, 16
CHANGES, LAUNCHES = (0.03, 0.05, 0.10), (4, 5, 8)
METRICS = {"ttft.p50": Known("s", "lower"), "tpot.p50": Known("s/token", "lower"), "throughput": Known("1/s", "higher")}
LIMIT = 0.05

Floats = NDArray[np.float64]


class Load(NamedTuple):
    """What one load saw."""

    ttft: Floats
    tpot: Floats
    throughput: float

    def value(self, metric: str) -> float:
        """Return one figure of the load."""
        if metric == "throughput":
            return self.throughput
        return float(np.median(self.ttft if metric == "ttft.p50" else self.tpot))


Launch = list[Load]


def simulate(slowness: float, lengths: NDArray[np.int64], gaps: Floats, noise: np.random.Generator) -> Load:
    """Serve requests in steps: each gives one token to all that run, and lets those in for whom there is a place."""
    due = np.cumsum(gaps)
    begun, first, done = (np.full(len(due), math.nan) for _ in range(3))
    left: dict[int, int] = {}
    now, following = 0.0, 0
    while following < len(due) or left:
        if not left and following < len(due):
            now = max(now, due[following])
        while following < len(due) and due[following] <= now and len(left) < PLACES:
            left[following] = int(lengths[following])
            begun[following] = now
            following += 1
        now += slowness * (0.010 + 0.001 * len(left)) * noise.lognormal(0, 0.05)
        for request in list(left):
            first[request] = now if math.isnan(first[request]) else first[request]
            left[request] -= 1
            if not left[request]:
                done[request] = now
                del left[request]
    return Load(first - due, (done - first) / (lengths - 1), float(lengths.sum() / (now - due[0])))


def side(launches: int, change: float, noise: np.random.Generator) -> list[Launch]:
    """Return loads by launch; the k-th load asks the same of every launch."""
    found = []
    for _ in range(launches):
        slowness = (1 + change) * noise.lognormal(0, BETWEEN)
        loads = []
        for repeat in range(LOADS):
            asked = np.random.default_rng(repeat)
            lengths = asked.integers(8, 48, REQUESTS)
            loads.append(simulate(slowness, lengths, asked.exponential(0.03, REQUESTS), noise))
        found.append(loads)
    return found


Method = Callable[[list[Launch], list[Launch], str], bool]


def by_launches(golden: list[Launch], current: list[Launch], metric: str) -> bool:
    """Say whether a verdict of ours finds any change in one metric alone."""
    values = [[[load.value(metric) for load in launch] for launch in side] for side in (golden, current)]
    (delta,) = judge({metric: shift(*values)}, {}, known=METRICS).values()
    return delta.verdict in ("improved", "regressed")


def by_loads(golden: list[Launch], current: list[Launch], metric: str) -> bool:
    """Take every load for a launch of its own."""
    values = [[[load.value(metric)] for launch in side for load in launch] for side in (golden, current)]
    (delta,) = judge({metric: shift(*values)}, {}, known=METRICS).values()
    return delta.verdict in ("improved", "regressed")


def by_requests(golden: list[Launch], current: list[Launch], metric: str) -> bool:
    """Take every request of one load for independent (Mann and Whitney, 1947)."""
    if metric == "throughput":
        return abs(current[0][0].throughput / golden[0][0].throughput - 1) > LIMIT
    name = metric.partition(".")[0]
    return bool(mannwhitneyu(getattr(golden[0][0], name), getattr(current[0][0], name)).pvalue < LIMIT)


METHODS: Mapping[str, Method] = {
    "launches (ours)": by_launches,
    "loads as launches": by_loads,
    "requests of one load": by_requests,
}


def any_alarm(golden: list[Launch], current: list[Launch]) -> bool:
    """Say whether any metric gets a verdict against a tolerance of nothing, by Holm's correction."""
    measured = {}
    for metric in METRICS:
        values = [[[load.value(metric) for load in launch] for launch in side] for side in (golden, current)]
        measured[metric] = shift(*values)
    deltas = judge(measured, {}, known=METRICS).values()
    return any(delta.verdict in ("improved", "regressed") for delta in deltas)


def main() -> None:
    """Print false alarms by method and metric, then what our verdicts find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300, help="comparisons behind each figure (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    noise = np.random.default_rng(args.seed)
    error = 100 * math.sqrt(LIMIT * (1 - LIMIT) / args.pairs)
    print(f"same against same, wanted 5 % ± {2 * error:.1f}, {args.pairs} pairs, launches differ by {BETWEEN:.0%}")
    print(f"{'':<26}{'launches':>9}" + "".join(f"{metric:>12}" for metric in METRICS) + f"{'any (Holm)':>12}")
    for launches in LAUNCHES:
        pairs = [(side(launches, 0, noise), side(launches, 0, noise)) for _ in range(args.pairs)]
        for name, method in METHODS.items():
            rates = [np.mean([method(*pair, metric) for pair in pairs]) for metric in METRICS]
            both = f"{np.mean([any_alarm(*pair) for pair in pairs]):>12.1%}" if method is by_launches else ""
            print(f"{name:<26}{launches:>9}" + "".join(f"{rate:>12.1%}" for rate in rates) + both, flush=True)
    print("a true change, found by launches (ours)")
    for change in CHANGES:
        for launches in LAUNCHES:
            pairs = [(side(launches, 0, noise), side(launches, change, noise)) for _ in range(args.pairs)]
            rates = [np.mean([by_launches(*pair, metric) for pair in pairs]) for metric in METRICS]
            print(f"{f'+{change:.0%}':<26}{launches:>9}" + "".join(f"{rate:>12.1%}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
