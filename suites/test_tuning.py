"""Which configuration is fastest? A small study for each engine that the project knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from pytest_msprof import SearchSpace, Workload, choice, integers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_msprof import Loader, Run, Service, Trial

CHAT = Workload(input_tokens=64, output_tokens=32, concurrency=16, num_requests=48)
TRANSFORMERS = SearchSpace(
    choice("continuous_batching", [False, True]),
    integers("num_blocks", 8, 128, log=True, when="continuous_batching"),
    integers("batch_tokens", 16, 1024, log=True, when="continuous_batching"),
    choice("dtype", ["bfloat16", "float32"]),
    default={"continuous_batching": False},
    where=["num_blocks * 256 >= batch_tokens"],
)
VLLM = SearchSpace(
    integers("max_num_seqs", 2, 256, log=True),
    integers("max_num_batched_tokens", 64, 4096, log=True),
    choice("dtype", ["bfloat16", "float32"]),
    where=["max_num_batched_tokens >= max_num_seqs"],
)
RUNNER = SearchSpace(
    choice("exe_mode", ["eager", "ge_graph"]),
    integers("batch_size", 1, 32, log=True),
    integers("prefill_tokens", 64, 4096, log=True),
    integers("max_model_len", 128, 1024, log=True, when="exe_mode == 'ge_graph'"),
    choice("dtype", ["bfloat16", "float32"]),
    default={"exe_mode": "eager", "dtype": "float32"},
)

Launch: TypeAlias = "Callable[[Mapping[str, object]], AbstractContextManager[Service]]"
Record: TypeAlias = "Callable[[Run], Run]"


@pytest.mark.engines("transformers")
@pytest.mark.tune(
    TRANSFORMERS, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 0.500}, n_trials=12, seed=7
)
def test_batching(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    measure(trial, launch_service, load_generator, record)


@pytest.mark.engines("vllm")
@pytest.mark.tune(
    VLLM, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 0.500}, n_trials=6, seed=7
)
def test_scheduler(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    measure(trial, launch_service, load_generator, record)


@pytest.mark.engines("runner")
@pytest.mark.tune(
    RUNNER, workload=CHAT, objective="output_throughput", subject_to={"ttft.p50": 0.500}, n_trials=8, seed=7
)
def test_modes(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    measure(trial, launch_service, load_generator, record)


def measure(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    """Send the loads of *trial* to an engine with its fields."""
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
