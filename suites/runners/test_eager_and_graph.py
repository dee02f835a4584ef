"""What does a graph bring? Both modes in one test, by turns, on the same prompts."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import pytest

from msprof_runners import HuggingFaceRunner
from pytest_msprof import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 5
LENGTHS = {"input_max_len": 64, "max_new_tokens": 32, "ignore_eos": True}


@pytest.fixture(scope="module")
def runners(model_path: Path | str) -> Iterator[dict[str, HuggingFaceRunner]]:
    """A runner of each mode, at the same time."""
    settings: dict[str, Any] = {"model_name": "suite", "model_path": str(model_path), "data_config": LENGTHS}
    made = {mode: HuggingFaceRunner({**settings, "exe_mode": mode}) for mode in ("eager", "ge_graph")}
    for runner in made.values():
        runner.init_model()
    yield made
    for runner in made.values():
        runner.close()


@pytest.mark.parametrize("batch_size", [1])
def test_a_graph_says_the_same_as_eager(
    runners: dict[str, HuggingFaceRunner],
    record: Callable[[Run], Run],
    record_property: Callable[[str, object], None],
    batch_size: int,
) -> None:
    prompts = ["Explain what is gpt_oss."] * batch_size
    rounds = [{mode: runner.model_generate(prompts) for mode, runner in runners.items()} for _ in range(ROUNDS)]
    for run in rounds[-1].values():
        record(run)
    ratios = [found["eager"].tpot.p50 / found["ge_graph"].tpot.p50 for found in rounds]
    record_property("graph_speedup", statistics.median(ratios))
    assert len({found.tokens for pair in rounds for found in pair.values()}) == 1
