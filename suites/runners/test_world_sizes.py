"""What does it bring to divide a model? The same batch on one process, and on two that share each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof import Tolerance, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from msprof_runners import DividedRunner, HuggingFaceRunner
    from pytest_msprof import Golden, Run

TOLERANCE = Tolerance({"decode_throughput": 0.05, "prefill_throughput": 0.10})
PARTS = ("attn_tp_size", "moe_tp_size", "dense_tp_size", "embed_tp_size", "lmhead_tp_size")


@pytest.fixture(scope="module", params=[1, 2], ids=lambda size: f"world{size}")
def runner_settings(request: pytest.FixtureRequest, model_path: Path | str) -> dict[str, Any]:
    """Settings that divide every part over all processes; each needs an accelerator of its own, if there are any."""
    import torch

    size = request.param
    if torch.cuda.is_available() and torch.cuda.device_count() < size:
        pytest.skip(f"{size} processes need as many devices, but there are {torch.cuda.device_count()}")
    return {
        "model_name": "suite",
        "model_path": str(model_path),
        "world_size": size,
        "model_config": {"enable_online_split_weight": True},
        "data_config": {"input_max_len": 128, "max_new_tokens": 32, "ignore_eos": True},
        "parallel_config": dict.fromkeys(PARTS, size),
    }


@pytest.mark.parametrize("batch_size", [8])
def test_divided(
    model_runner: HuggingFaceRunner | DividedRunner,
    record: Callable[[Run], Run],
    golden: Golden,
    batch_size: int,
) -> None:
    run = record(model_runner.model_generate(["Explain what is gpt_oss."] * batch_size))
    assert run.success_rate == 1
    compare(run, golden.runs, TOLERANCE).raise_for_regression()
