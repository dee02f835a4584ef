"""A model divided over processes says what the whole one says, and each process reads its own part only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from msprof_runners import GptOssRunner, HuggingFaceRunner
from msprof_runners.divided_weights import load_part, load_saved_part, make_random_part, save_part
from msprof_runners.division import Division
from msprof_runners.parallel import check_world
from pytest_msprof.errors import CheckpointError, InvalidSettings, InvalidWorkload, ServiceExited

MODELS = ["tiny-gpt-oss", "tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"]
PROMPTS = ["Explain what is gpt_oss.", " a long story about water and wood", " hi"]
PROGRAM = Path(__file__).parent / "programs" / "divided.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


@pytest.mark.parametrize(
    ("world", "mode"),
    [(2, "eager"), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(4, "eager"), (2, "ge_graph")])],
)
def test_under_torchrun_each_model_says_what_transformers_says(models, tmp_path, world, mode):
    folders = {models(name).parent for name in MODELS}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, str(world), str(PROGRAM), *map(str, folders), str(tmp_path), mode]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in range(world):
        found = json.loads((tmp_path / f"found_{rank}.json").read_text())
        assert sorted({case["model"] for case in found}) == MODELS
        for case in found:
            assert case["differs_by"] < 1e-4, case
            assert case["same_as_transformers"], case
            assert case["stops_alike"], case
            assert case["same_after_saving"], case
            assert case["held"] == case["held_after_saving"]
        assert found[0]["random"] == json.loads((tmp_path / "found_0.json").read_text())[0]["random"]
        assert found[0]["largest"] == {"rank": world - 1, "same": 7}
        assert found[0]["random_held"] == next(case["held"] for case in found if case["model"] == "tiny-gpt-oss")
        for case in found[: len(MODELS)]:
            assert 1 / world < case["held"] < 1 / world + 0.02, case


def part_of(folder, rank, load=load_part, dtype="auto", **sizes):
    config = transformers.AutoConfig.from_pretrained(folder)
    sizes = sizes or {"attn_tp_size": 2, "dense_tp_size": 2, "lmhead_tp_size": 2, "embed_tp_size": 2}
    division = Division(config, check_world(2, sizes), rank)
    return load(transformers.LlamaForCausalLM, folder, config, division, dtype=dtype), division


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


def test_random_parts_need_no_weights_and_are_the_same_where_two_processes_hold_the_same(models, tmp_path):
    (tmp_path / "config.json").write_text((models("tiny-llama") / "config.json").read_text())

    def made(rank, seed=3):
        held, _ = part_of(tmp_path, rank, partial(make_random_part, seed=seed, device="cpu"))
        return held.share, dict(held.model.named_parameters())

    (share, one), (_, other), (_, again), (_, of_another_seed) = made(0), made(1), made(0), made(0, seed=4)
    assert 0.5 < share < 0.52
    for name, value in one.items():
        assert torch.equal(value, again[name])
        is_shared = name.endswith("norm.weight")
        assert torch.equal(value, other[name]) == is_shared
        assert torch.equal(value, of_another_seed[name]) == is_shared
    assert 0.015 < one["lm_head.weight"].std() < 0.025


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


def test_a_saved_part_keeps_the_type_it_had_in_memory(models, tmp_path):
    held, division = part_of(models("tiny-llama"), 0, dtype="float32")
    save_part(held.model, tmp_path, division)
    again, _ = part_of(tmp_path, 0, load_saved_part)
    assert {value.dtype for value in again.model.parameters()} == {torch.float32}


def test_a_runner_starts_its_own_processes_and_one_that_is_killed_ends_them_all(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = dict.fromkeys(("attn_tp_size", "moe_tp_size", "lmhead_tp_size"), 2)
    wanted = settings("tiny-gpt-oss", model={"enable_online_split_weight": True}, world_size=2, parallel_config=sizes)
    alone = GptOssRunner(settings("tiny-gpt-oss")).init_model().model_generate(PROMPTS)
    with GptOssRunner(wanted).init_model() as runner:
        run = runner.model_generate(PROMPTS)
        assert run.tokens == alone.tokens
        assert run.texts == alone.texts
        assert run.launch_id == runner.launch_id
        assert run.fields["attn_tp_size"] == 2
        assert 0.5 < run.environment["weights_held"] < 0.8
        assert len(run.series["decode_step"].values) == 15
        runner.save_model(tmp_path / "saved")
        assert {path.name for path in (tmp_path / "saved").glob("rank_*")} == {"rank_0", "rank_1"}
        with pytest.raises(InvalidWorkload, match="at least one prompt"):
            runner.model_generate([])
        processes = psutil.Process().children(recursive=True)
        (other,) = [process for process in processes if process.environ().get("RANK") == "1"]
        other.kill()
        with pytest.raises(ServiceExited, match=r"\[rank 1\] was ended by SIGKILL"):
            runner.model_generate(PROMPTS)
        assert psutil.wait_procs(processes, timeout=30)[1] == []
    assert run.tokens == alone.tokens


def test_sizes_that_do_not_fit_the_model_start_no_process(settings):
    wanted = settings(world_size=3, parallel_config={"attn_tp_size": 3})
    with pytest.raises(InvalidSettings, match="attn_tp_size must divide the model's num_attention_heads 4, but is 3"):
        HuggingFaceRunner(wanted).init_model()
