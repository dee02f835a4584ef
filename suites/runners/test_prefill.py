"""Prompts from three sources: preset ones, a file, and synthetic ones of a given length."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from msprof_runners import HuggingFaceRunner
    from pytest_msprof import Run

LINES = ("What is a runner?", "Write a story about water, wood and wind.", "Why is the sky blue?")


@pytest.fixture(scope="module", params=["default", "file", "synthetic"])
def runner_settings(
    request: pytest.FixtureRequest, model_path: Path | str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Settings with another source of prompts each; a file of your own goes into `dataset`."""
    dataset = request.param
    if dataset == "file":
        path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
        path.write_text("".join(json.dumps({"prompt": line}) + "\n" for line in LINES), encoding="utf-8")
        dataset = str(path)
    return {
        "model_name": "suite",
        "model_path": str(model_path),
        "data_config": {
            "dataset": dataset,
            "batch_size": 4,
            "input_max_len": 64,
            "max_new_tokens": 8,
            "ignore_eos": True,
        },
    }


def test_prefill(model_runner: HuggingFaceRunner, record: Callable[[Run], Run]) -> None:
    run = record(model_runner.model_generate(model_runner.prompts()))
    assert run.completed == 4
    assert run.metrics["prefill_throughput"] > 0
