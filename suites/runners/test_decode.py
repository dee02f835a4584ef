"""How fast are prefill and decode? Batch sizes and modes of a ModelRunner, against the golden run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof import Tolerance, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from msprof_runners import HuggingFaceRunner
    from pytest_msprof import Golden, Run

TOLERANCE = Tolerance({"decode_throughput": 0.05, "prefill_throughput": 0.10})
MODES = ("eager", "ge_graph")


@pytest.fixture(scope="module", params=MODES)
def runner_settings(request: pytest.FixtureRequest, model_path: Path | str) -> dict[str, Any]:
    """Settings of the measured runner, in each mode."""
    return {
        "model_name": "suite",
        "model_path": str(model_path),
        "exe_mode": request.param,
        "data_config": {"input_max_len": 128, "max_new_tokens": 32, "ignore_eos": True},
    }


@pytest.mark.parametrize("batch_size", [1, 8])
def test_decode(model_runner: HuggingFaceRunner, record: Callable[[Run], Run], golden: Golden, batch_size: int) -> None:
    run = record(model_runner.model_generate(["Explain what is gpt_oss."] * batch_size))
    assert run.success_rate == 1
    compare(run, golden.runs, TOLERANCE).raise_for_regression()
