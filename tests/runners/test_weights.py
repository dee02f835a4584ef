"""What a runner refuses to load, and why."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from msprof_runners import HuggingFaceRunner
from pytest_msprof.errors import (
    CheckpointError,
    ConfigurationError,
    InvalidSettings,
    ModelNotFound,
    OutOfMemory,
    UnknownName,
)


@pytest.fixture
def broken(models, settings, tmp_path):
    """Return a function that changes configuration and weights of a copy, and gives the settings for it."""

    def change(config=None, weights=None):
        folder = tmp_path / "model"
        shutil.copytree(models("tiny-llama"), folder)
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, **(config or {})}))
        if weights:
            save_file(weights(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
        return {**settings("tiny-llama"), "model_path": str(folder)}

    return change


def load(settings):
    return HuggingFaceRunner(settings).init_model()


def without(name):
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def test_a_model_that_is_not_there(settings):
    with pytest.raises(ModelNotFound, match="make-models"):
        load({**settings(), "model_path": "/nowhere"})


def test_a_tokenizer_that_is_missing(broken, tmp_path):
    settings = broken()
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"the tokenizer in .* cannot be loaded"):
        load(settings)


def test_a_weight_that_is_missing(broken):
    with pytest.raises(CheckpointError, match=r"lacks weights for LlamaForCausalLM: model\.norm\.weight"):
        load(broken(weights=without("model.norm.weight")))


def test_a_weight_that_nobody_expects(broken):
    with pytest.raises(CheckpointError, match="unexpected weights for LlamaForCausalLM: extra"):
        load(broken(weights=lambda weights: {**weights, "extra": weights["model.norm.weight"].clone()}))


def test_a_weight_of_another_shape(broken):
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight \(7,\), wanted \(128,\)"):
        load(broken(weights=lambda weights: {**weights, "model.norm.weight": weights["model.norm.weight"][:7].clone()}))


def test_a_file_that_ends_too_soon(broken, tmp_path):
    settings = broken()
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(CheckpointError, match="damaged"):
        load(settings)


def test_an_architecture_that_nobody_knows(broken):
    with pytest.raises(UnknownName, match="did you mean 'LlamaForCausalLM'"):
        load(broken(config={"architectures": ["LlamaForCausalLLM"]}))


def test_a_configuration_that_contradicts_itself(broken):
    with pytest.raises(CheckpointError, match="not a multiple of the number of attention heads"):
        load(broken(config={"num_attention_heads": 3}))


def test_a_kind_of_model_that_nobody_knows(broken):
    with pytest.raises(UnknownName, match="unknown model_type 'lama'"):
        load(broken(config={"model_type": "lama"}))


def test_a_quantization_that_does_not_run_here_is_named(broken):
    with pytest.raises(ConfigurationError, match="quantization 'no-such-method'"):
        load(broken(config={"quantization_config": {"quant_method": "no-such-method"}}))


def test_sizes_that_do_not_fit_the_model_are_refused_before_a_weight_is_read(broken, tmp_path):
    settings = broken()
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        load(settings)
    with pytest.raises(InvalidSettings, match="attn_tp_size must divide world_size 1"):
        load({**settings, "parallel_config": {"attn_tp_size": 2}})


def test_random_weights_need_no_files_and_are_the_same_for_a_seed(settings, models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models("tiny-llama"), folder)
    (folder / "model.safetensors").unlink()
    wanted = {
        **settings("tiny-llama", model={"with_ckpt": False}, data={"ignore_eos": True}),
        "model_path": str(folder),
    }
    one, other = (load(wanted).model_generate(["hello"]) for _ in range(2))
    assert one.tokens == other.tokens
    assert load({**wanted, "seed": 1}).model_generate(["hello"]).tokens != one.tokens


def test_a_model_that_does_not_fit_the_memory_of_the_host(broken):
    settings = broken(config={"intermediate_size": 1 << 40})
    settings["model_config"]["with_ckpt"] = False
    with pytest.raises(OutOfMemory, match="the model tiny-llama does not fit the memory of cpu"):
        load(settings)


@pytest.mark.parametrize("name", ["missing", "damaged"])
def test_one_of_several_files_that_is(broken, tmp_path, name):
    settings = broken()
    folder = tmp_path / "model"
    weights = load_file(folder / "model.safetensors")
    halves = [dict(list(weights.items())[start::2]) for start in (0, 1)]
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for half, file in zip(halves, names, strict=True):
        save_file(half, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {key: file for half, file in zip(halves, names, strict=True) for key in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    assert load(settings).model is not None
    if name == "missing":
        (folder / names[1]).unlink()
    else:
        (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:-64])
    with pytest.raises(CheckpointError, match=names[1]):
        load(settings)


def test_a_saved_model_answers_the_same(settings, tmp_path):
    runner = load(settings("tiny-qwen3-moe"))
    runner.save_model(tmp_path / "saved")
    saved = load({**settings("tiny-qwen3-moe"), "model_path": str(tmp_path / "saved")})
    assert saved.model_generate(["hello"]).tokens == runner.model_generate(["hello"]).tokens
