"""Checkpoints whose weights torchao has quantized are read, run, and named in the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

from msprof_runners import HuggingFaceRunner
from msprof_runners.divided_weights import load_part
from msprof_runners.division import Division
from msprof_runners.parallel import check_world
from pytest_msprof.errors import CheckpointError, ConfigurationError

PROMPTS = ["Explain what is gpt_oss.", " hi"]
SIZES = {"attn_tp_size": 2, "dense_tp_size": 2, "lmhead_tp_size": 2, "embed_tp_size": 2}
KINDS = {"int8_weight_only": Int8WeightOnlyConfig, "float8_weight_only": Float8WeightOnlyConfig}


@pytest.fixture
def quantized(models, settings, tmp_path):
    """Return a function that quantizes a model as others do, and gives the settings for it."""

    def make(kind):
        plain, folder = models("tiny-llama"), tmp_path / kind
        config = transformers.TorchAoConfig(KINDS[kind]())
        cls = transformers.AutoModelForCausalLM
        cls.from_pretrained(plain, quantization_config=config, dtype="float32").save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(plain).save_pretrained(folder)
        return {**settings("tiny-llama", data={"ignore_eos": True}), "model_path": str(folder)}

    return make


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_says_what_its_weights_say_as_plain_numbers(quantized, settings, kind, tmp_path):
    runner = HuggingFaceRunner(quantized(kind)).init_model()
    run = runner.model_generate(PROMPTS)
    assert run.fields["quantization"] == runner.quantization == kind
    plain = HuggingFaceRunner(settings("tiny-llama", data={"ignore_eos": True})).init_model()
    assert "quantization" not in plain.model_generate(PROMPTS).fields
    found = dict(runner.model.named_parameters())
    changed = [name for name, weight in found.items() if type(weight) is not torch.nn.Parameter]
    assert len(changed) == 2 * 7
    with torch.no_grad():
        for name, weight in plain.model.named_parameters():
            if name in changed:
                weight.copy_(found[name].dequantize())
    assert plain.model_generate(PROMPTS).tokens == run.tokens
    with pytest.raises(ConfigurationError, match="cannot be written again"):
        runner.save_model(tmp_path / "again")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_its_numbers_come_in_the_type_that_the_settings_want(quantized, kind):
    settings = quantized(kind)
    settings["model_config"]["dtype"] = "bfloat16"
    runner = HuggingFaceRunner(settings).init_model()
    assert {weight.dtype for weight in runner.model.parameters()} == {torch.bfloat16}
    assert runner.model_generate(PROMPTS).fields["dtype"] == "bfloat16"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_parts_of_it_side_by_side_are_the_whole(quantized, kind):
    folder = Path(quantized(kind)["model_path"])
    whole = dict(HuggingFaceRunner(quantized(kind)).init_model().model.named_parameters())
    config = transformers.AutoConfig.from_pretrained(folder)
    layout = check_world(2, SIZES)
    parts = [
        dict(
            load_part(
                transformers.LlamaForCausalLM, folder, config, Division(config, layout, rank), dtype="auto"
            ).model.named_parameters()
        )
        for rank in range(2)
    ]
    for name, weight in whole.items():
        if type(weight) is not torch.nn.Parameter:
            axis = 1 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0
            halves = [part[name] for part in parts]
            assert {type(half) for half in halves} == {type(weight)}
            assert torch.equal(torch.cat([half.dequantize() for half in halves], axis), weight.dequantize())


@pytest.mark.slow
def test_two_processes_say_what_one_says(quantized, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = quantized("int8_weight_only")
    alone = HuggingFaceRunner(settings).init_model().model_generate(PROMPTS)
    divided = {**settings, "world_size": 2, "parallel_config": SIZES}
    with pytest.raises(ConfigurationError, match="set enable_online_split_weight: true"):
        HuggingFaceRunner(divided).init_model()
    online = {**settings["model_config"], "enable_online_split_weight": True}
    with HuggingFaceRunner({**divided, "model_config": online}).init_model() as runner:
        run = runner.model_generate(PROMPTS)
    assert run.tokens == alone.tokens
    assert run.fields["quantization"] == "int8_weight_only"
    assert 0.5 < run.environment["weights_held"] < 0.52


def test_plain_weights_under_a_quantized_configuration_are_refused(quantized, models, tmp_path):
    settings = quantized("int8_weight_only")
    plain = (models("tiny-llama") / "model.safetensors").read_bytes()
    (tmp_path / "int8_weight_only" / "model.safetensors").write_bytes(plain)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        HuggingFaceRunner(settings).init_model()


def test_random_weights_are_never_quantized(quantized):
    settings = quantized("int8_weight_only")
    settings["model_config"]["with_ckpt"] = False
    with pytest.raises(ConfigurationError, match="with_ckpt: false makes plain weights, but the model's are int8"):
        HuggingFaceRunner(settings).init_model()


def test_a_quantization_that_does_not_run_here_names_what_does(quantized, tmp_path):
    settings = quantized("int8_weight_only")
    path = tmp_path / "int8_weight_only" / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "quantization_config": {"quant_method": "gptq", "bits": 4}}))
    with pytest.raises(ConfigurationError, match=r"'gptq' of .* is not supported on cpu \(possible: torchao with Int8"):
        HuggingFaceRunner(settings).init_model()
