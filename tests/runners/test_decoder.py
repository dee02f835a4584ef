"""The fused forward pass says what transformers says, and the model below it stays one of transformers."""

from __future__ import annotations

import gc

import pytest
import torch
import transformers

from msprof_runners import HuggingFaceRunner
from msprof_runners.linears import Packed, Part, joined

PROMPTS = [[7] * 20, [9, 8, 7], [11]]
LENGTHS = {"max_new_tokens": 12, "ignore_eos": True}


def stock(runner):
    """Return the runner's model as transformers loads it."""
    name = runner.hf_config.architectures[0]
    return getattr(transformers, name).from_pretrained(runner.model_path, dtype=runner.model.dtype).eval()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen3-moe", "tiny-gpt-oss"])
def test_tokens_are_those_of_the_model_that_is_not_fused(settings, name, dtype):
    fused = HuggingFaceRunner(settings(name, model={"dtype": dtype}, data=LENGTHS)).init_model()
    plain = HuggingFaceRunner(settings(name, model={"dtype": dtype, "enable_fusion": False}, data=LENGTHS)).init_model()
    assert (fused.forward, plain.forward) == (fused.decoder, plain.model)
    runs = [runner.model_generate(PROMPTS) for runner in (fused, plain)]
    assert runs[0].tokens == runs[1].tokens
    assert [run.fields["fused"] for run in runs] == [True, False]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_below_remains_callable_and_is_saved_as_it_was(settings, tmp_path, dtype):
    runner = HuggingFaceRunner(settings("tiny-qwen2", model={"dtype": dtype}, data=LENGTHS)).init_model()
    before = stock(runner)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(runner.model(ids).logits, before(ids).logits)
    runner.save_model(tmp_path / "saved")
    after = type(before).from_pretrained(tmp_path / "saved", dtype=before.dtype).state_dict()
    assert after.keys() == before.state_dict().keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.state_dict().items())


def test_a_model_with_a_part_of_its_own_runs_as_it_is(settings):
    class Own(transformers.LlamaForCausalLM):
        def forward(self, *args, **options):
            return super().forward(*args, **options)

    class OwnLayer(transformers.LlamaForCausalLM):
        def __init__(self, config):
            super().__init__(config)
            self.model.layers[0].mlp.register_forward_hook(lambda _module, _inputs, output: output)

    for cls in (Own, OwnLayer):
        runner = HuggingFaceRunner(settings("tiny-llama", data=LENGTHS)).init_model(cls)
        assert runner.decoder is None
        assert len(runner.model_generate(PROMPTS).tokens[0]) == 12


def test_arguments_that_no_runner_makes_go_to_the_model_itself(settings):
    class AllLogits(HuggingFaceRunner):
        def model_input_prepare(self, input_dict):
            return {**super().model_input_prepare(input_dict), "logits_to_keep": 0}

        def model_output_process(self, model_inputs, outputs, input_dict):
            assert outputs.logits.shape[1] == input_dict["input_ids"].shape[1]
            super().model_output_process(model_inputs, outputs, input_dict)

    runner = AllLogits(settings("tiny-llama", data=LENGTHS)).init_model()
    expected = HuggingFaceRunner(settings("tiny-llama", data=LENGTHS)).init_model().model_generate(PROMPTS)
    assert runner.model_generate(PROMPTS).tokens == expected.tokens


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "width"), [(torch.bfloat16, 24), (torch.float32, 24), (torch.float32, 4096)])
def test_joint_layers_are_the_layers_side_by_side(dtype, width, bias):
    owner = torch.nn.Module()
    owner.first = torch.nn.Linear(256, width, bias=bias, dtype=dtype)
    owner.second = torch.nn.Linear(256, 8, dtype=dtype)
    rows = torch.randn(3, 256, dtype=dtype)
    with torch.inference_mode():
        apart = [owner.first(rows), owner.second(rows)]
        weights = {name: value.clone() for name, value in owner.state_dict().items()}
        both = joined(owner, ["first", "second"])
        torch.testing.assert_close(both(rows), torch.cat(apart, dim=-1))
        torch.testing.assert_close([owner.first(rows), owner.second(rows)], apart)
    assert isinstance(owner.first, Part) is isinstance(both, Packed) is (dtype is torch.bfloat16 or width == 4096)
    found = owner.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_a_packed_weight_goes_with_its_model():
    packed = Packed(torch.randn(16, 16), None)
    handle = packed._handle
    rows = torch.randn(1, 16)
    assert torch.ops.msprof.packed_linear(rows, handle, 16).shape == (1, 16)
    del packed
    gc.collect()
    with pytest.raises(KeyError):
        torch.ops.msprof.packed_linear(rows, handle, 16)
