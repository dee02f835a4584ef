"""The searches that ours is compared with: the original's swarm, and Model Analyzer's decision rules.

Written anew from what they do (msserviceprofiler 1.2.3, Triton Model Analyzer 1.4x), each reduced to
its rule: which configuration and load it runs next, and which one it would name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from bench import Bench, Result
from problems import LOAD, Problem

__all__ = ["brute", "quick", "swarm"]

PARTICLES, INERTIA, PULL = 10, 1.8, 2.0
WEIGHT_OF_SPEED, WEIGHT_OF_MISS, PENALTY = 0.4, 0.3, 3.0
RADIUS, MAGNITUDE, NEEDED = 5, 7, 3
"""Of Model Analyzer's quick search: neighbourhood, length of a step, points a neighbourhood must have."""
INSTANCES, BATCHES = ("instances", "tp", "tokens"), ("batch", "seqs")
"""Parameters that its brute search varies where a space has them: what corresponds to instances and batch size."""
FOREVER = 10_000


def swarm(bench: Bench, seed: int) -> None:
    """Fly the original's swarm: inertia that diverges, periodic bounds, two runs a particle, a soft penalty.

    It never names its best particle; here the one with the least penalty stands for it.
    """
    generator = np.random.default_rng(seed)
    names = list(bench.problem.space)
    at = generator.random((PARTICLES, len(names)))
    velocity = generator.random(at.shape)
    own, own_cost = at.copy(), np.full(PARTICLES, np.inf)
    costs: list[tuple[float, Mapping[str, Any]]] = []
    bench.ranking = lambda: [parameters for _, parameters in sorted(costs, key=lambda entry: entry[0])]
    for _ in range(FOREVER):
        for particle in range(PARTICLES):
            parameters = _at(bench.problem, at[particle])
            cost = _cost(bench, parameters)
            if math.isfinite(cost):
                costs.append((cost, parameters))
            if cost < own_cost[particle]:
                own[particle], own_cost[particle] = at[particle], cost
        leader = own[int(np.argmin(own_cost))]
        one, other = generator.random((2, *at.shape))
        velocity = INERTIA * velocity + PULL * one * (own - at) + PULL * other * (leader - at)
        at = (at + velocity) % 1.0


def _cost(bench: Bench, parameters: Mapping[str, Any]) -> float:
    """Return the original's fitness: a violation of 4 % costs less than 4 % of the speed brings."""
    try:
        bench.run(parameters)
        found = bench.run(parameters)
    except MemoryError:
        return math.inf
    target = 10 * bench.problem.truth(**bench.problem.default)[0]
    penalty = sum(WEIGHT_OF_MISS * math.exp(min(PENALTY * (ratio - 1), 50.0)) for ratio in found.ratios)
    return WEIGHT_OF_SPEED * target / found.value + penalty


def brute(bench: Bench, seed: int) -> None:
    """Sweep Model Analyzer's automatic grid: the default, then instances × batch sizes, loads in powers of two each."""
    del seed
    default = bench.problem.default
    axes = [name for known in (INSTANCES, BATCHES) for name in known if name in default][:2]
    grid = itertools.product(*(_doubled(bench.problem, name) for name in axes))
    for point in (default, *({**default, **dict(zip(axes, values, strict=True))} for values in grid)):
        _sweep(bench, point)


def _sweep(bench: Bench, point: Mapping[str, Any]) -> None:
    """Double the load up to its bound, whatever the limits say; stop where the throughput stands still."""
    last = 0.0
    for load in _doubled(bench.problem, LOAD) if LOAD in point else (None,):
        try:
            found = bench.run(point if load is None else {**point, LOAD: load})
        except MemoryError:
            return
        if found.value < 1.05 * last:
            return
        last = found.value


def quick(bench: Bench, seed: int) -> None:
    """Climb as Model Analyzer's quick search does: to the weighted centre of a neighbourhood, by throughput alone.

    It begins at the smallest values, lets the load follow from the batch, and returns to where it stood
    until a place was visited twice; the best run that met the limits is its answer.
    """
    del seed
    names = [name for name in bench.problem.default if name != LOAD]
    levels = [_doubled(bench.problem, name) for name in names]
    seen: dict[tuple[int, ...], float] = {}
    visits: dict[tuple[int, ...], int] = {}
    home = tuple(0 for _ in names)
    for _ in range(FOREVER):
        _measure(bench, names, levels, home, seen)
        for place in _around(home, levels, seen):
            if sum(math.dist(home, other) <= RADIUS for other in seen) >= NEEDED:
                break
            _measure(bench, names, levels, place, seen)
        visits[home] = visits.get(home, 0) + 1
        step = _step(home, seen)
        moved = tuple(
            min(max(here + round(MAGNITUDE * by), 0), len(known) - 1)
            for here, by, known in zip(home, step, levels, strict=True)
        )
        if moved == home or visits.get(moved, 0) >= 2:
            return
        home = moved


def _measure(
    bench: Bench,
    names: Sequence[str],
    levels: Sequence[Sequence[Any]],
    place: tuple[int, ...],
    seen: dict[tuple[int, ...], float],
) -> None:
    point = {name: known[index] for name, known, index in zip(names, levels, place, strict=True)}
    if LOAD in bench.problem.space:
        entry: Any = bench.problem.space[LOAD]
        batch = max((int(point[name]) for name in BATCHES if name in point), default=entry.low)
        point[LOAD] = min(max(2 * batch, entry.low), entry.high)
    try:
        found: Result | None = bench.run(point)
    except MemoryError:
        found = None
    seen[place] = 0.0 if found is None else found.value


def _around(
    home: tuple[int, ...], levels: Sequence[Sequence[Any]], seen: Mapping[tuple[int, ...], float]
) -> Iterator[tuple[int, ...]]:
    """Yield unmeasured places near *home*, those with the most values that are new first."""
    ranges = [range(max(0, here - 2), min(len(known), here + 3)) for here, known in zip(home, levels, strict=True)]
    near = [
        place for place in itertools.islice(itertools.product(*ranges), FOREVER) if math.dist(home, place) <= RADIUS
    ]
    while True:
        rest = [place for place in near if place not in seen]
        if not rest:
            return
        used = [{place[axis] for place in seen} for axis in range(len(home))]
        yield max(rest, key=lambda place: sum(value not in known for value, known in zip(place, used, strict=True)))


def _step(home: tuple[int, ...], seen: Mapping[tuple[int, ...], float]) -> np.ndarray[Any, Any]:
    """Return the way from the centre of the neighbourhood to its centre weighted by throughput."""
    near = [(np.array(place, float), value) for place, value in seen.items() if math.dist(home, place) <= RADIUS]
    centre = sum(place for place, _ in near) / len(near)
    total = sum(value for _, value in near)
    return sum(place * value for place, value in near) / total - centre if total else centre * 0


def _doubled(problem: Problem, name: str) -> list[Any]:
    """Return the values of a parameter as Model Analyzer takes them: powers of two between the bounds, or a list."""
    entry: Any = problem.space[name]
    if hasattr(entry, "choices"):
        return list(entry.choices)
    if not entry.log:
        spread = np.linspace(entry.low, entry.high, 5)
        return sorted({round(float(value)) if isinstance(entry.low, int) else float(value) for value in spread})
    count = int(math.log2(entry.high / entry.low) + 1e-9)
    return [type(entry.low)(entry.low * 2**power) for power in range(count + 1)]


def _at(problem: Problem, units: np.ndarray[Any, Any]) -> dict[str, Any]:
    from pytest_msprof.tuning.encoding import Cube

    cube = Cube(problem.space)
    order = list(problem.space)
    return cube.from_units(np.array([units[order.index(name)] for name in cube.space]))
