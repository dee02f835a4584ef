"""What a runner says is what transformers says, token for token, and what it measures is all there was."""

from __future__ import annotations

import pytest
import torch
import transformers

from msprof_runners import GptOssRunner, HuggingFaceRunner, ModelRunner
from pytest_msprof.errors import ConfigurationError, InvalidWorkload, OutOfMemory

MODELS = ["tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen3-moe", "tiny-gpt-oss"]
PROMPTS = [
    "Explain what is gpt_oss.",
    " the engine builds a long story about water and wood, and goes on until it passes every window there is",
    " hi",
]


def said_by_transformers(runner, prompts, *, until_length):
    """Return the token ids of each answer, without what pads them, of a model that no runner has touched."""
    architecture = getattr(transformers, runner.hf_config.architectures[0])
    model = architecture.from_pretrained(runner.model_path, dtype=runner.model.dtype).eval()
    given = runner.tokenizer(prompts, return_tensors="pt", padding=True)
    least = runner.max_new_tokens if until_length else 1
    found = model.generate(
        **given,
        max_new_tokens=runner.max_new_tokens,
        min_new_tokens=least,
        do_sample=False,
        pad_token_id=runner.pad_token,
    )
    rows = found[:, given.input_ids.shape[1] :].tolist()
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_unequal_prompts_is_answered_as_by_transformers(settings, name):
    runner = HuggingFaceRunner(settings(name, data={"ignore_eos": True})).init_model()
    run = runner.model_generate(PROMPTS)
    assert list(run.tokens) == said_by_transformers(runner, PROMPTS, until_length=True)
    assert run.notes == ()
    again = runner.model_generate(PROMPTS[1:2])
    assert again.tokens == run.tokens[1:2]


def test_the_worked_example_of_the_guide_runs_as_it_is_written(settings):
    runner_settings = settings("tiny-gpt-oss")
    preset_prompts = ["Explain what is gpt_oss."]
    model_runner = GptOssRunner(runner_settings)
    model_runner.init_model()
    run = model_runner.model_generate(preset_prompts)
    stock = HuggingFaceRunner(runner_settings).init_model()
    assert list(run.tokens) == said_by_transformers(stock, preset_prompts, until_length=False)
    assert model_runner.model.lm_head_tp_size == 1
    assert model_runner.model.runner_settings.get("data_config").get("max_new_tokens") == 16


def test_an_answer_ends_with_its_end_of_sequence_token_unless_that_is_ignored(settings):
    runner = HuggingFaceRunner(settings("tiny-llama")).init_model()
    free = runner.model_generate(PROMPTS)
    runner.stop_tokens = frozenset({free.tokens[0][4]})
    run = runner.model_generate(PROMPTS)
    assert run.tokens[0] == free.tokens[0][:5]
    assert [sample.finish_reason for sample in run.samples] == ["stop", "length", "length"]
    assert [sample.output_tokens for sample in run.samples] == [5, 16, 16]
    assert run.samples[0].latency < run.samples[1].latency
    alone = runner.model_generate(PROMPTS[:1])
    assert alone.series["decode_step"].values.size == 4


def test_every_step_is_measured_and_the_phases_stand_beside(settings):
    runner = HuggingFaceRunner(settings("tiny-llama", data={"ignore_eos": True})).init_model()
    run = runner.model_generate(PROMPTS)
    steps = run.series["decode_step"].values
    assert len(steps) == 15
    assert run.series["prefill"].values.sum() + steps.sum() == pytest.approx(run.duration)
    assert run.metrics["output_throughput"] == pytest.approx(3 * 16 / run.duration)
    assert {"load_time", "warmup_time", "host_memory", "prefill_throughput", "decode_throughput"} <= set(run.metrics)
    assert "compile_time" not in run.metrics
    assert run.launch_id == runner.launch_id == runner.model_generate(PROMPTS).launch_id


def test_a_batch_that_does_not_fit_leaves_a_runner_that_answers_smaller_ones(settings):
    class Greedy(HuggingFaceRunner):
        def model_input_prepare(self, input_dict):
            if len(input_dict["input_ids"]) > 1:
                torch.empty(1 << 60)
            return super().model_input_prepare(input_dict)

    runner = Greedy(settings("tiny-llama")).init_model()
    with pytest.raises(OutOfMemory, match="a batch of 3 prompts with 40 tokens does not fit the memory of cpu"):
        runner.model_generate([[7] * 40] * 3)
    assert len(runner.model_generate(PROMPTS[:1]).tokens) == 1


def test_prompts_beyond_the_limit_are_cut_and_the_run_says_so(settings):
    runner = HuggingFaceRunner(settings("tiny-llama", data={"input_max_len": 4})).init_model()
    run = runner.model_generate(PROMPTS)
    assert "2 of 3 prompts were cut to 4 tokens" in run.notes[0]
    assert max(sample.input_tokens for sample in run.samples) == 4


def test_in_the_mode_of_talks_a_prompt_is_what_a_user_says(settings):
    runner = HuggingFaceRunner(settings("tiny-llama", model={"tokenizer_mode": "chat"})).init_model()
    written = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert runner.encode("hello").rows[0] == tuple(runner.tokenizer(written)["input_ids"])
    assert runner.encode([[7, 8]]).rows == ((7, 8),)
    runner.tokenizer.chat_template = None
    with pytest.raises(InvalidWorkload, match="needs a chat template, and the model has none: set 'default'"):
        runner.encode("hello")


def test_what_cannot_be_asked_is_refused(settings):
    runner = HuggingFaceRunner(settings("tiny-llama", data={"input_max_len": 8192}))
    with pytest.raises(ConfigurationError, match="call init_model"):
        runner.model_generate(PROMPTS)
    runner.init_model()
    with pytest.raises(InvalidWorkload, match="at least one prompt, but got none"):
        runner.model_generate([])
    with pytest.raises(InvalidWorkload, match="together may have 4096 tokens, but a prompt has 5000"):
        runner.model_generate([[7] * 5000])


def test_every_stage_can_be_replaced(settings):
    seen = []

    class Watched(HuggingFaceRunner):
        pass

    def watched(name):
        original = getattr(ModelRunner, name)

        def stage(self, *args, **options):
            seen.append(name)
            inherited = HuggingFaceRunner.__dict__.get(name, original)
            return inherited(self, *args, **options)

        return stage

    stages = [
        *("init_device", "init_model", "_init_model_with_offline_splited_weight", "init_tokenizer"),
        *("scale_dtype_adapter", "to_device", "cast_format", "fuse", "_parse_quant_hf_config", "_verify_quantization"),
        *("model_generate", "model_input_prepare", "model_inference", "model_output_process"),
        *("get_jump_prepare", "get_jump_flag"),
    ]
    for name in stages:
        setattr(Watched, name, watched(name))
    Watched(settings("tiny-llama")).init_model().model_generate(PROMPTS)
    assert set(seen) == set(stages)
