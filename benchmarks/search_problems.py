"""Serving problems whose best configuration and load are known, for measuring searches.

Three analytic servers, Triton's dynamic batching and two simulated servers, from the models that
`serving_models` and `continuous_batching` cite. Every space holds the load, as clients of a closed loop:
the best load differs from configuration to configuration. How hard they are was set by looking at random
search alone.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from continuous_batching import CHAT, DOCUMENTS, Traffic, continuous
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from problems import LOAD, Problem, geometric
from serving_models import edge, parallel, scheduling, triton

__all__ = ["PROBLEMS"]


def _simulated(name: str, traffic: Traffic) -> Problem:
    listed = {
        "seqs": [4, 8, 16, 32, 64, 128],
        "tokens": [128, 256, 512, 1024, 2048, 4096],
        "blocks": [128, 256, 512, 1024, 2048],
        "block": [4, 8, 16, 32],
        "chunked": [False, True],
        "prefill_first": [False, True],
    }
    start = {"seqs": 16, "tokens": 1024, "blocks": 512, "block": 16, "chunked": False, "prefill_first": True}
    return Problem(
        name,
        {LOAD: IntDistribution(8, 128, log=True)}
        | {entry: CategoricalDistribution(values) for entry, values in listed.items()},
        {LOAD: 16, **start},
        partial(continuous, traffic),
        {LOAD: [32, 64, 96, 128], **listed},
        0.03,
    )


PROBLEMS = (
    Problem(
        "scheduling (smooth)",
        {
            LOAD: IntDistribution(16, 256, log=True),
            "seqs": IntDistribution(8, 512, log=True),
            "tokens": IntDistribution(256, 8192, log=True),
            "dtype": CategoricalDistribution(["bf16", "fp32", "fp8"]),
            "chunked": CategoricalDistribution([False, True]),
        },
        {LOAD: 32, "seqs": 64, "tokens": 2048, "dtype": "bf16", "chunked": False},
        scheduling,
        {
            LOAD: geometric(32, 256, 16),
            "seqs": geometric(8, 512, 40),
            "tokens": geometric(256, 8192, 40),
            "dtype": ["bf16", "fp32", "fp8"],
            "chunked": [False, True],
        },
    ),
    Problem(
        "parallelism (interactions)",
        {
            LOAD: IntDistribution(64, 512, log=True),
            "tp": CategoricalDistribution([1, 2, 4, 8]),
            "pp": CategoricalDistribution([1, 2, 4]),
            "dtype": CategoricalDistribution(["bf16", "fp8", "int4"]),
            "kv": CategoricalDistribution(["auto", "fp8"]),
            "seqs": IntDistribution(16, 512, log=True),
            "tokens": IntDistribution(1024, 16384, log=True),
            "steps": CategoricalDistribution([1, 2, 4, 8, 16]),
        },
        {LOAD: 64, "tp": 8, "pp": 1, "dtype": "bf16", "kv": "auto", "seqs": 128, "tokens": 8192, "steps": 1},
        parallel,
        {
            LOAD: geometric(64, 512, 16),
            "tp": [1, 2, 4, 8],
            "pp": [1, 2, 4],
            "dtype": ["bf16", "fp8", "int4"],
            "kv": ["auto", "fp8"],
            "seqs": geometric(16, 512, 12),
            "tokens": geometric(1024, 16384, 9),
            "steps": [1, 2, 4, 8, 16],
        },
        0.03,
    ),
    Problem(
        "memory edge (8 % noise)",
        {
            LOAD: IntDistribution(16, 256, log=True),
            "memory": FloatDistribution(0.6, 0.98),
            "seqs": IntDistribution(16, 512, log=True),
            "tokens": IntDistribution(512, 16384, log=True),
            "blocks": CategoricalDistribution([8, 16, 32, 64, 128]),
            "eager": CategoricalDistribution([False, True]),
            "kv": CategoricalDistribution(["auto", "fp8"]),
        },
        {LOAD: 32, "memory": 0.85, "seqs": 64, "tokens": 2048, "blocks": 16, "eager": False, "kv": "auto"},
        edge,
        {
            LOAD: geometric(32, 256, 12),
            "memory": [round(float(value), 3) for value in np.linspace(0.7, 0.95, 11)],
            "seqs": geometric(16, 512, 11),
            "tokens": geometric(512, 16384, 11),
            "blocks": [8, 16, 32, 64, 128],
            "eager": [False, True],
            "kv": ["auto", "fp8"],
        },
        0.08,
    ),
    Problem(
        "triton (dynamic batching)",
        {
            LOAD: IntDistribution(8, 128, log=True),
            "instances": IntDistribution(1, 8),
            "batch": CategoricalDistribution([1, 2, 4, 8, 16, 32, 64, 128]),
            "delay": FloatDistribution(50.0, 20_000.0, log=True),
            "pinned": CategoricalDistribution([False, True]),
            "arena": CategoricalDistribution(["grow", "fixed", "none"]),
        },
        {LOAD: 16, "instances": 1, "batch": 8, "delay": 100.0, "pinned": True, "arena": "grow"},
        triton,
        {
            LOAD: geometric(16, 128, 16),
            "instances": range(1, 9),
            "batch": [1, 2, 4, 8, 16, 32, 64, 128],
            "delay": [float(value) for value in np.geomspace(50, 20_000, 31)],
            "pinned": [False, True],
            "arena": ["grow", "fixed", "none"],
        },
        0.04,
    ),
    _simulated("simulated chat", CHAT),
    _simulated("simulated documents", DOCUMENTS),
)
