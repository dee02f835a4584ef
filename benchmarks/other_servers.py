"""Servers that the problems of `other_problems` ask for, as formulas, and the table of one of Triton's.

Each function takes a configuration and returns the throughput and, for each limit, metric over limit (at most 1 is
met); it raises `MemoryError` where the service would not start. `other_problems` says what they follow.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from problems import Found

__all__ = ["BATCHES", "CLIENTS", "DELAYS", "INSTANCES", "SWITCH", "mixed", "noisy", "smooth", "triton"]

DEVICE, CACHE = 80.0, 2.5
"""GB of memory of a device, and of the least cache that one starts with."""
TRITON = 16.0
"""GB that Triton's instances may take."""
SWITCH = [False, True]
INSTANCES, BATCHES, DELAYS, CLIENTS = [1, 2, 3, 4], [1, 4, 8, 16, 32], [0, 100, 1000, 5000], [4, 8, 16, 32, 64]


def _least(*limits: float) -> float:
    """Return the smallest, rounded off where two are close: neither binds all the time."""
    return float(sum(limit**-6.0 for limit in limits) ** (-1 / 6))


def _queue(clients: float, batch: float, finish: float) -> float:
    """Return how long a client of a closed loop waits for one of the places that turn over in *finish*."""
    return max(0.0, clients / batch - 1) * finish


def smooth(*, seqs: int, tokens: int, memory: float) -> Found:
    """Return a model of 8 billion weights on one device, 128 clients, 1024 tokens in and 256 out; times in ms."""
    clients, prompt, answer = 128, 1024, 256
    fits = (DEVICE * memory - 18 - tokens * 4e-4) / (131e-6 * (prompt + answer / 2))
    wanted = _least(seqs, clients)
    batch = _least(wanted, fits, tokens / (1 + prompt / answer))
    again = 1 + 0.5 * max(0.0, wanted / fits - 1)
    work = batch * (1 + again * prompt / answer)
    step = 6.5 + 0.045 * batch + 0.03 * work * (1 + 90 / tokens) + 0.6 * work / tokens
    longest = step + 0.03 * _least(tokens, 6 * prompt)
    first = 3 * longest + prompt / tokens * step
    finish = answer * step + first
    return batch * answer / finish * 1000, ((first + _queue(clients, batch, finish)) / 8_000, longest / 85)


def mixed(*, tensor: int, weights: str, drafted: int, prefix: bool, seqs: int, tokens: int) -> Found:
    """Return a model of 70 billion weights on eight devices, 256 clients, 1500 tokens in and 300 out; times in ms.

    What tensor parallelism does not need serves as further replicas. 60 % of each prompt is shared.
    """
    clients, prompt, answer, devices = 256, 1500, 300, 8
    size = {"bf16": 140.0, "fp8": 70.0, "int4": 38.0}[weights]
    room = tensor * (0.9 * DEVICE - 3) - size - 2.5 * (drafted > 0) - tokens * 1.5e-3
    held = 327e-6 * (prompt + answer)
    if room < 2 * held:
        raise MemoryError
    replicas = devices // tensor
    arriving = clients / replicas
    fits = room / held / (1.05 if prefix else 1.0)
    wanted = _least(seqs, arriving)
    batch = _least(wanted, fits)
    again = 1 + 0.5 * max(0.0, wanted / fits - 1)
    token = 0.24 * {"bf16": 1.0, "fp8": 0.6, "int4": 0.85}[weights] / tensor
    read = (size + 0.6 * batch * held) / 2.4 / tensor
    kept = sum(0.7**place for place in range(drafted + 1))
    verify = math.hypot(read, token * batch * (1 + drafted))
    reduce = math.log2(tensor) * (1.3 + 0.008 * batch * (1 + drafted))
    step = verify + reduce + 2.0 + 1.6 * drafted
    prefill = token * prompt * (0.55 if prefix else 1.0) * (1 + 120 / tokens) + 2.0
    pace = step / kept + again * batch / answer * prefill
    first = prefill + 2 * step + 0.5 * token * tokens
    finish = answer * pace + first
    waits = _queue(arriving, batch, finish)
    return replicas * batch * answer / finish * 1000, ((first + waits) / 9000, (pace + 0.05 * token * tokens) / 110)


def noisy(*, memory: float, seqs: int, tokens: int, kv: str, eager: bool) -> Found:
    """Return a model of 24 billion weights on one device, 192 clients, 1200 tokens in and 200 out; times in ms.

    The cache, a step's activations and the captured graphs share the device: the more of it is used, the fewer
    requests are preempted, until the engine does not start.
    """
    clients, prompt, answer = 192, 1200, 200
    peak = 1.2 + tokens * 4e-4 + seqs * 4e-3
    graphs = 0.0 if eager else 1.0 + seqs * 5e-3
    room = DEVICE * memory - 48 - peak
    if DEVICE * memory + graphs + 0.5 * peak > 0.985 * DEVICE or room < CACHE:
        raise MemoryError
    fits = room * (2.0 if kv == "fp8" else 1.0) / (164e-6 * (prompt + answer / 2))
    wanted = _least(seqs, clients)
    batch = _least(wanted, 1.1 * fits)
    again = 1 + 0.4 * max(0.0, wanted / fits - 1)
    step = 15 + 0.11 * batch * (1.1 if kv == "fp8" else 1.0) + (6.0 if eager else 0.0)
    prefill = 0.07 * prompt * (1 + 150 / tokens)
    pace = step + again * batch / answer * prefill
    first = prefill + 2 * pace + 0.03 * tokens
    finish = answer * pace + first
    waits = _queue(clients, batch, finish)
    return batch * answer / finish * 1000, ((first + waits) / 24_000, (pace + 0.004 * tokens) / 180)


@cache
def _table() -> dict[tuple[int, int, bool, int, int], tuple[float, float]]:
    """Return infer/s and p95 latency of each configuration, with the deviations that a recording keeps."""
    draws = np.random.default_rng(2)
    return {
        (instances, batch, dynamic, delay, clients): _recorded(instances, batch, dynamic, delay, clients, draws)
        for instances in INSTANCES
        for batch in BATCHES
        for dynamic in SWITCH
        for delay in DELAYS
        for clients in CLIENTS
    }


def _recorded(
    instances: int,
    batch: int,
    dynamic: bool,  # noqa: FBT001 - a parameter of the service
    delay: int,
    clients: int,
    draws: np.random.Generator,
) -> tuple[float, float]:
    """Return infer/s and ms of one configuration, rounded as perf_analyzer prints them."""
    copies, launch, item = 3.0, 2.5, 0.65
    share = clients / instances
    patience = delay / 1000 / (delay / 1000 + 4)
    filled = _least(batch, max(1.0, share / 2 * (1 + patience))) if dynamic else 1.0
    busy = launch + item * filled
    waited = delay / 1000 * max(0.0, 1 - filled / batch) if dynamic else 0.0
    cycle = max(copies + busy, instances * busy * (1 + 0.02 * (instances - 1))) + 0.6 * waited
    rate = min(instances * filled / cycle, clients / (copies + busy + waited + 1.0))
    rate *= math.exp(draws.normal(0, 0.02))
    latency = clients / rate * (1.15 + 0.05 * instances) * math.exp(draws.normal(0, 0.02))
    return round(rate * 1000, 1), round(latency, 3)


def triton(*, instances: int, batch: int, dynamic: bool, delay: int, clients: int) -> Found:
    """Return what the table holds; instances with large batches do not fit into the device."""
    if instances * (1.6 + 0.13 * batch) > TRITON:
        raise MemoryError
    rate, latency = _table()[instances, batch, dynamic, delay, clients]
    return rate, (latency / 56.0,)
