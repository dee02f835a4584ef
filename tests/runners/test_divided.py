"""A model divided over processes says what the whole one says, and each process reads its own part only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from msprof_runners.divided_weights import load_part, load_saved_part, save_part
from msprof_runners.division import Division
from msprof_runners.parallel import check_world
from pytest_msprof.errors import CheckpointError

MODELS = ["tiny-gpt-oss", "tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"]
PROGRAM = Path(__file__).parent / "programs" / "divided.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_under_torchrun_each_model_says_what_transformers_says(models, tmp_path, world):
    folders = {models(name).parent for name in MODELS}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, str(world), str(PROGRAM), *map(str, folders), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in range(world):
        found = json.loads((tmp_path / f"found_{rank}.json").read_text())
        assert sorted({case["model"] for case in found}) == MODELS
        for case in found:
            assert case["differs_by"] < 1e-4, case
            assert case["same_as_transformers"], case
            assert case["same_after_saving"], case
            assert case["held"] == case["held_after_saving"]
        for case in found[: len(MODELS)]:
            assert 1 / world < case["held"] < 1 / world + 0.02, case


def part_of(folder, rank, load=load_part, **sizes):
    config = transformers.AutoConfig.from_pretrained(folder)
    sizes = sizes or {"attn_tp_size": 2, "dense_tp_size": 2, "lmhead_tp_size": 2, "embed_tp_size": 2}
    division = Division(config, check_world(2, sizes), rank)
    return load(transformers.LlamaForCausalLM, folder, config, division, dtype="auto"), division


@pytest.fixture
def changed(models, tmp_path):
    """Return a function that changes the weights of a copy of a model, and gives its folder."""

    def change(weights):
        source = models("tiny-llama")
        save_file(weights(load_file(source / "model.safetensors")), tmp_path / "model.safetensors", {"format": "pt"})
        (tmp_path / "config.json").write_text((source / "config.json").read_text())
        return tmp_path

    return change


def test_parts_side_by_side_are_the_whole(models):
    folder = models("tiny-llama")
    whole = load_file(folder / "model.safetensors")
    parts = [dict(part_of(folder, rank)[0].model.named_parameters()) for rank in range(2)]
    for name, value in whole.items():
        axis = 1 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0
        halves = [part[name] for part in parts]
        together = halves[0] if name.endswith("norm.weight") else torch.cat(halves, axis)
        assert torch.equal(together, value), name
        assert all(half.dtype == value.dtype for half in halves)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (
            lambda found: {key: found[key] for key in found if key != "model.norm.weight"},
            r"lacks .* model\.norm\.weight",
        ),
        (lambda found: {**found, "extra": found["model.norm.weight"].clone()}, "has unexpected .* extra"),
        (
            lambda found: {**found, "lm_head.weight": torch.zeros(8, 128)},
            r"lm_head\.weight \(8, 128\), wanted \(4096, 128\)",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_refused(changed, change, refusal):
    with pytest.raises(CheckpointError, match=refusal):
        part_of(changed(change), 1)


def test_a_part_that_was_saved_for_another_layout_is_refused(models, tmp_path):
    held, division = part_of(models("tiny-llama"), 1)
    save_part(held.model, tmp_path, division)
    (tmp_path / "config.json").write_text((models("tiny-llama") / "config.json").read_text())
    again, _ = part_of(tmp_path, 1, load_saved_part)
    assert again.share == held.share
    with pytest.raises(
        CheckpointError, match=r'divided for the layout .*"embed_tp_size": 2.* wanted .*"embed_tp_size": 1'
    ):
        part_of(tmp_path, 1, load_saved_part, attn_tp_size=2)
    with pytest.raises(CheckpointError, match="has no folder rank_0: weights are divided by save_model beforehand"):
        part_of(tmp_path, 0, load_saved_part)
