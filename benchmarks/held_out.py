"""A problem that no search was tuned on: looked at once, when everything else was settled.

Written before any search had seen it, from SGLang's own page on tuning its options ("Hyperparameter
Tuning", docs.sglang.io): a large batch matters most; a static share of memory that is too large ends in
out of memory while prompts or batches are computed, and smaller chunks or fewer requests help; a
scheduler that is too conservative leaves cache unused while requests wait, one that is too bold retracts
requests and computes them again; graphs help up to the batch they were captured for and take memory; data
parallelism gives more throughput than tensor parallelism where the weights fit.
"""

from __future__ import annotations

import math

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from problems import LOAD, Found, Problem, geometric
from serving_models import limit_of

__all__ = ["HELD_OUT"]

CARDS, PROMPT, ANSWER = 4, 600, 300


def sglang(
    *, load: int, static: float, chunk: int, bold: float, running: int, graphs: int, tp: int, mixed: bool
) -> Found:
    """Return a model of 32 billion weights on four devices of 80 GB, in token/s with limits on TTFT and TPOT."""
    replicas = CARDS // tp
    pool = 80 * static - 65 / tp - 0.4
    left = 80 * (1 - static) - 1.0 - 0.007 * graphs
    if pool < 1.0 or left < 0.55 * chunk / 1024 + 0.006 * running / replicas:
        raise MemoryError
    cached = pool * tp * 1e9 / 262e3
    reserved = PROMPT + ANSWER * min(1.0, 0.25 + 0.75 * bold)
    admitted = max(1.0, cached / reserved)
    batch = limit_of(max(1, round(min(admitted, running / replicas))), load / replicas)
    retracted = max(0.0, batch * (PROMPT + 0.55 * ANSWER) / cached - 1) * 1.5
    launch = 1.0 if batch <= graphs else 1 + 0.5 * min(1.0, (batch - graphs) / graphs)
    talk = 0.9 * math.log2(tp) * (1 + batch / 300) if tp > 1 else 0.0
    step = (24 / tp + 0.11 * batch / tp**0.85) * launch + talk + 1.2
    prefill = 0.075 * PROMPT / tp**0.9 * (1 + 260 / chunk) * (1 + min(retracted, 2))
    paced = step + batch / ANSWER * prefill * (0.88 if mixed else 1.0)
    stalled = paced + (0.10 if mixed else 0.04) * 0.075 * min(chunk, 4 * PROMPT) / tp
    first = prefill * (1 + 0.4 * min(chunk / PROMPT, batch / 16)) + step
    finish = ANSWER * paced + first
    waits = max(0.0, load / replicas - batch) / batch * finish
    return replicas * batch * ANSWER / finish * 1000, ((first + waits) / 3000, stalled / 80)


HELD_OUT = Problem(
    "held out (sglang)",
    {
        LOAD: IntDistribution(32, 512, log=True),
        "static": FloatDistribution(0.5, 0.97),
        "chunk": CategoricalDistribution([1024, 2048, 4096, 8192, 16384]),
        "bold": FloatDistribution(0.1, 1.5),
        "running": IntDistribution(16, 1024, log=True),
        "graphs": CategoricalDistribution([8, 16, 32, 64, 128, 256]),
        "tp": CategoricalDistribution([1, 2, 4]),
        "mixed": CategoricalDistribution([False, True]),
    },
    {
        LOAD: 64,
        "static": 0.85,
        "chunk": 4096,
        "bold": 1.0,
        "running": 128,
        "graphs": 32,
        "tp": 4,
        "mixed": False,
    },
    sglang,
    {
        LOAD: geometric(64, 512, 10),
        "static": [round(float(value), 3) for value in np.linspace(0.6, 0.96, 10)],
        "chunk": [1024, 2048, 4096, 8192, 16384],
        "bold": [0.1, 0.3, 0.5, 0.8, 1.1],
        "running": geometric(32, 1024, 8),
        "graphs": [8, 16, 32, 64, 128, 256],
        "tp": [1, 2, 4],
        "mixed": [False, True],
    },
    0.04,
)
