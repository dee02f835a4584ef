"""Studies on a real vLLM on processors, whose answers are known from measuring it apart.

    pytest benchmarks/studies --msprof-engine vllm --msprof-model models/tiny-qwen2

`test_restricted_start` begins where people begin who copied the configuration of a smaller machine:
two sequences at once, which costs three quarters of the throughput at sixteen clients. `test_no_effect`
searches fields that do nothing on processors (vLLM 0.32 forces asynchronous scheduling off and rewrites
the executor `uni` to `mp` there, cascade attention is FlashAttention's, and nothing is drawn with the seed):
its answer has to be "not distinguishable", and no field may matter.

Eight tokens come in a chunk, so that a client on the one core that the engine leaves it is not what is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from measuring import measure

from pytest_msprof import SearchSpace, Workload, choice, constant, integers, steps

if TYPE_CHECKING:
    from measuring import Launch, Record

    from pytest_msprof import Loader, Trial

pytestmark = pytest.mark.engines("vllm")

CHAT = Workload(input_tokens=64, output_tokens=64, concurrency=16, num_requests=96)
ALWAYS = (
    constant("enforce_eager", True),  # a start compiles for most of a minute otherwise
    constant("stream_interval", 8),
)
SCHEDULER = SearchSpace(
    *ALWAYS,
    integers("max_num_seqs", 2, 128, log=True).marked(unset=128),
    integers("max_num_batched_tokens", 64, 2048, log=True).marked(unset=2048),
    choice("dtype", ["bfloat16", "float32"]).marked(unset="bfloat16"),
    steps("block_size", 32, 256, 32).marked(unset=128),
    default={"max_num_seqs": 2},
    where=["max_num_batched_tokens >= max_num_seqs"],
)
NO_EFFECT = SearchSpace(
    *ALWAYS,
    choice("async_scheduling", [False, True]).marked(unset=False),
    choice("distributed_executor_backend", ["mp", "uni"], position="--distributed-executor-backend").marked(unset="mp"),
    choice("disable_cascade_attn", [False, True], position="--disable-cascade-attn").marked(unset=True),
    choice("seed", [0, 1, 2], position="--seed").marked(unset=0),
)


@pytest.mark.tune(
    SCHEDULER, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 0.500}, n_trials=12, seed=7
)
def test_restricted_start(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    measure(trial, launch_service, load_generator, record)


@pytest.mark.tune(NO_EFFECT, workload=CHAT, objective="output_throughput", n_trials=12, seed=7)
def test_no_effect(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    measure(trial, launch_service, load_generator, record)
