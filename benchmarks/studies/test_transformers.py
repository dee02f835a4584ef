"""A study on a real `transformers serve`, which batches continuously only when it is told to.

    pytest benchmarks/studies --msprof-engine transformers --msprof-model models/tiny-qwen2

Continuous batching is worth four times the throughput at sixteen clients, and the limit on the time to the first
token is out of reach without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from measuring import measure

from pytest_msprof import SearchSpace, Workload, choice, integers

if TYPE_CHECKING:
    from measuring import Launch, Record

    from pytest_msprof import Loader, Trial

pytestmark = pytest.mark.engines("transformers")

CHAT = Workload(input_tokens=64, output_tokens=32, concurrency=16, num_requests=96)
BATCHING = SearchSpace(
    choice("continuous_batching", [False, True]),
    integers("num_blocks", 8, 128, log=True, when="continuous_batching"),
    integers("batch_tokens", 16, 1024, log=True, when="continuous_batching"),
    choice("attn_implementation", ["sdpa", "eager"]).marked(unset="sdpa"),
    choice("dtype", ["bfloat16", "float32"]).marked(unset="bfloat16"),
    default={"continuous_batching": False},
)


@pytest.mark.tune(
    BATCHING, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 0.500}, n_trials=16, seed=7
)
def test_batching(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    measure(trial, launch_service, load_generator, record)
