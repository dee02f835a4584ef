"""Problems with a narrow peak: unlike what serving engines were measured to do, and kept as a hard test.

Earlier versions of the benchmark were judged by these alone. Their load is fixed, their throughput has
its peak in the middle of a parameter's range, and their limit lies where throughput still grows: random
search has about 35 % of the optimum after 10 runs, and 0.1 % of the last one's configurations are feasible.
"""

from __future__ import annotations

import math

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from problems import Found, Problem, geometric

__all__ = ["NARROW"]


def batching(seqs: int, tokens: int, dtype: str, chunked: bool) -> Found:  # noqa: FBT001 - a parameter of the service
    """Return a smooth batching server: throughput saturates in the batch, prefill delays the first token."""
    if seqs * tokens > 2**20:
        raise MemoryError
    fit = math.exp(-(((math.log2(tokens) - 11) / 3) ** 2))
    throughput = 1000 * (1 - math.exp(-seqs / 40)) * fit * {"bf16": 1.0, "fp32": 0.6, "fp8": 1.1}[dtype]
    ttft = 0.05 + 0.002 * seqs * (0.7 if chunked else 1) + tokens / 40000
    return throughput * (1.1 if chunked else 1), (ttft / 0.2,)


def parallel(tp: int, pp: int, dtype: str, kv: str, seqs: int, tokens: int, steps: int) -> Found:
    """Return eight devices shared by tensor, pipeline and data parallelism, with interactions.

    After Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters, 2021
    (communication of tensor, bubble of pipeline parallelism), and the roofline of decoding: a step
    reads all weights once, whatever the batch.
    """
    if tp * pp > 8:
        raise MemoryError
    width = {"bf16": 2.0, "fp8": 1.0, "int4": 0.5}[dtype]
    weights = 70 * width / (tp * pp)
    room = (72 - weights) * (2 if kv == "fp8" else 1)
    if room < 8:
        raise MemoryError
    batch = min(seqs, room * 6)
    read = weights / 2.0 + batch * 0.02 / (tp * pp) / (2 if kv == "fp8" else 1)
    compute = batch * 0.12 / (tp * pp) * (1.25 if dtype == "int4" else 0.6 if dtype == "fp8" else 1)
    step = (max(read, compute) + 0.6 * math.log2(tp) * (1 + batch / 256) + 4 / steps) * (1 + (pp - 1) / (2 * pp)) + 1.5
    replicas = 8 // (tp * pp)
    chunk = math.exp(-((math.log2(tokens / 4096) / 4) ** 2))
    throughput = replicas * batch / step * 1000 * chunk
    ttft = 0.04 * tokens / 4096 * 8 / tp + 0.003 * batch + 0.01 * steps
    return throughput, (ttft / 0.9, (step + 0.3 * steps) / 40)


def edge(memory: float, seqs: int, length: int, tokens: int, eager: bool) -> Found:  # noqa: FBT001
    """Return a noisy server that is best close to where it runs out of memory, and preempts before."""
    free = 80 * memory - 30 - tokens / 900 - (0 if eager else 3)
    needed = seqs * length * 2.2e-5
    if memory > 0.95 - tokens / 400_000 or free < length * 4e-4:
        raise MemoryError
    if needed > 2.2 * free:
        raise MemoryError
    preempted = max(0.0, needed / free - 1)
    batch = seqs / (1 + 2 * preempted)
    throughput = 4000 * batch / (batch + 90) * (0.8 if eager else 1) * (1 - math.exp(-tokens / 2500))
    served = 1 - math.exp(-length / 3000)
    ttft = 0.1 + tokens / 30_000 + 0.0012 * seqs + 0.5 * preempted
    return throughput * served, (ttft / 0.6, (0.012 + 0.0001 * batch + 0.000002 * tokens) / 0.045)


def triton(instances: int, batch: int, delay: float, preferred: int, pinned: bool, arena: str) -> Found:  # noqa: FBT001
    """Return dynamic batching over several instances that share a device (Triton's scheduler, 64 clients)."""
    memory = instances * (1.2 + 0.09 * batch * (1.6 if arena == "grow" else 1.0))
    if memory > 22:
        raise MemoryError
    clients = 64.0
    filled = min(batch, clients / instances, 1 + clients / instances * (1 - math.exp(-delay / 2500)))
    filled *= 1 - 0.15 * (preferred > batch) - 0.06 * abs(math.log2(preferred / max(1.0, filled))) / 6
    contention = 1 + 0.22 * (instances - 1) ** 1.3
    service = (2.1 + 0.16 * filled**0.92 + (0 if pinned else 0.4)) * contention / (1.12 if arena == "fixed" else 1)
    wait = delay / 1000 * (filled < batch) * 0.5
    rate = instances * filled / (service + wait) * 1000
    latency = clients / rate * 1000 * (1.25 + 0.05 * instances) + wait
    return rate, (latency / 11.5,)


TRITON = Problem(
    "narrow: triton",
    {
        "instances": IntDistribution(1, 8),
        "batch": CategoricalDistribution([1, 2, 4, 8, 16, 32, 64, 128]),
        "delay": FloatDistribution(50.0, 50_000.0, log=True),
        "preferred": CategoricalDistribution([1, 2, 4, 8, 16, 32, 64]),
        "pinned": CategoricalDistribution([False, True]),
        "arena": CategoricalDistribution(["grow", "fixed", "none"]),
    },
    {"instances": 1, "batch": 8, "delay": 100.0, "preferred": 4, "pinned": True, "arena": "grow"},
    triton,
    {
        "instances": range(1, 9),
        "batch": [1, 2, 4, 8, 16, 32, 64, 128],
        "delay": [float(value) for value in np.geomspace(50, 50_000, 41)],
        "preferred": [1, 2, 4, 8, 16, 32, 64],
        "pinned": [False, True],
        "arena": ["grow", "fixed", "none"],
    },
    0.04,
)

NARROW = (
    Problem(
        "narrow: smooth",
        {
            "seqs": IntDistribution(1, 512, log=True),
            "tokens": IntDistribution(64, 8192, log=True),
            "dtype": CategoricalDistribution(["bf16", "fp32", "fp8"]),
            "chunked": CategoricalDistribution([False, True]),
        },
        {"seqs": 8, "tokens": 512, "dtype": "bf16", "chunked": False},
        batching,
        {
            "seqs": range(1, 513),
            "tokens": geometric(64, 8192, 57),
            "dtype": ["bf16", "fp32", "fp8"],
            "chunked": [False, True],
        },
    ),
    Problem(
        "narrow: interactions",
        {
            "tp": CategoricalDistribution([1, 2, 4, 8]),
            "pp": CategoricalDistribution([1, 2, 4]),
            "dtype": CategoricalDistribution(["bf16", "fp8", "int4"]),
            "kv": CategoricalDistribution(["auto", "fp8"]),
            "seqs": IntDistribution(8, 1024, log=True),
            "tokens": IntDistribution(512, 32768, log=True),
            "steps": IntDistribution(1, 16),
        },
        {"tp": 8, "pp": 1, "dtype": "bf16", "kv": "auto", "seqs": 64, "tokens": 8192, "steps": 1},
        parallel,
        {
            "tp": [1, 2, 4, 8],
            "pp": [1, 2, 4],
            "dtype": ["bf16", "fp8", "int4"],
            "kv": ["auto", "fp8"],
            "seqs": geometric(8, 1024, 60),
            "tokens": geometric(512, 32768, 25),
            "steps": [1, 2, 3, 4, 6, 8, 12, 16],
        },
        0.03,
    ),
    Problem(
        "narrow: edge",
        {
            "memory": FloatDistribution(0.5, 0.99),
            "seqs": IntDistribution(8, 1024, log=True),
            "length": IntDistribution(1024, 32768, log=True),
            "tokens": IntDistribution(512, 32768, log=True),
            "eager": CategoricalDistribution([False, True]),
        },
        {"memory": 0.7, "seqs": 32, "length": 4096, "tokens": 2048, "eager": False},
        edge,
        {
            "memory": [round(float(value), 3) for value in np.linspace(0.5, 0.95, 37)],
            "seqs": geometric(8, 1024, 40),
            "length": geometric(1024, 32768, 25),
            "tokens": geometric(512, 32768, 25),
            "eager": [False, True],
        },
        0.08,
    ),
    TRITON,
)
