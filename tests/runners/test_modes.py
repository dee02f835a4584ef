"""Graph modes say what eager says; a profiled pass is never the timed one."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor.utils import clear_caches

from msprof_runners import HuggingFaceRunner
from pytest_msprof.errors import ConfigurationError

PROMPTS = [
    "Explain what is gpt_oss.",
    " the engine builds a long story about water, wood and what else there may be",
    " hi",
]
LENGTHS = {"input_max_len": 32, "max_new_tokens": 12, "ignore_eos": True}


@pytest.mark.parametrize("name", ["tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen3-moe", "tiny-gpt-oss"])
def test_one_graph_gives_the_tokens_of_eager(settings, name):
    counters.clear()
    eager = HuggingFaceRunner(settings(name, data=LENGTHS)).init_model()
    graph = HuggingFaceRunner(settings(name, data=LENGTHS, exe_mode="ge_graph")).init_model()
    run = graph.model_generate(PROMPTS)
    assert run.tokens == eager.model_generate(PROMPTS).tokens
    assert run.metrics["compile_time"] > 0
    assert run.fields["exe_mode"] == "ge_graph"
    again = graph.model_generate(PROMPTS[1:] + PROMPTS[:1])  # the same graph: padding and texts are no part of it
    assert again.tokens == run.tokens[1:] + run.tokens[:1]
    assert counters["stats"]["unique_graphs"] == 1


def test_a_graph_is_warmed_up_again_where_its_buffers_are_new(settings):
    seen = []

    class Watched(HuggingFaceRunner):
        def model_inference(self, model_inputs, *, is_prefill=False, warm_up=False):
            seen.append((len(model_inputs["input_ids"]), warm_up))
            return super().model_inference(model_inputs, is_prefill=is_prefill, warm_up=warm_up)

    runner = Watched(settings("tiny-llama", data=LENGTHS)).init_model()
    runner._graph = runner.model.__call__  # stands for one: what counts here is when it is asked
    took = [runner.model_generate(PROMPTS[:size]).metrics["compile_time"] for size in (1, 2, 2, 1, 1)]
    steps = LENGTHS["max_new_tokens"]
    wanted = [(1, True, 4), (1, False, steps), (2, True, 4), (2, False, 2 * steps)]
    wanted += [(1, True, 4), (1, False, 2 * steps)]
    assert [(*key, len(list(group))) for key, group in itertools.groupby(seen)] == wanted
    assert (took[0], took[1]) == (took[3], took[2])


def test_a_graph_of_one_model_serves_no_other_of_the_same_shapes(settings, models, tmp_path):
    other = shutil.copytree(models("tiny-llama"), tmp_path / "other")
    content = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(content | {"rms_norm_eps": 0.5}))
    wanted = {**settings("tiny-llama", data=LENGTHS), "model_path": str(other)}
    HuggingFaceRunner(settings("tiny-llama", data=LENGTHS, exe_mode="ge_graph")).init_model().model_generate(PROMPTS)
    found = HuggingFaceRunner({**wanted, "exe_mode": "ge_graph"}).init_model().model_generate(PROMPTS)
    assert found.tokens == HuggingFaceRunner(wanted).init_model().model_generate(PROMPTS).tokens


def test_a_compiled_graph_that_is_kept_is_found_by_the_next_start(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # restored at the end
    kept = {"enable_cache_compile": True, "compile_cache_path": str(tmp_path / "kept")}
    wanted = settings("tiny-llama", data=LENGTHS, exe_mode="ge_graph", model=kept)
    torch._dynamo.reset()
    clear_caches()  # of this process, which may have compiled the same before
    first = HuggingFaceRunner(wanted).init_model().model_generate(PROMPTS)
    assert list((tmp_path / "kept").rglob("*.so"))
    torch._dynamo.reset()
    counters.clear()
    again = HuggingFaceRunner(wanted).init_model().model_generate(PROMPTS)
    assert again.tokens == first.tokens
    assert counters["inductor"]["fxgraph_cache_hit"] == 1
    assert counters["inductor"]["fxgraph_cache_miss"] == 0


def test_a_mode_the_processor_does_not_have_is_refused_unless_another_may_take_its_place(settings):
    with pytest.raises(ConfigurationError, match="'acl_graph' needs an NPU or CUDA"):
        HuggingFaceRunner(settings("tiny-llama", exe_mode="acl_graph")).init_model()
    allowed = settings("tiny-llama", exe_mode="acl_graph", model={"allow_mode_substitution": True})
    runner = HuggingFaceRunner(allowed).init_model()
    assert any("acl_graph was replaced by ge_graph" in note for note in runner.notes)


@pytest.mark.parametrize("length", [1, 3, 16])
def test_a_profile_of_a_pass_of_any_length_has_its_steps(settings, tmp_path, length):
    profiled = {"enable_profiler": True, "profile_path": str(tmp_path)}
    data = {"max_new_tokens": length, "ignore_eos": True}
    runner = HuggingFaceRunner(settings("tiny-llama", model=profiled, data=data)).init_model()
    run = runner.model_generate(PROMPTS)
    (trace,) = tmp_path.glob("*.json")
    events = json.loads(trace.read_text())["traceEvents"]
    assert any(event.get("name") == "aten::linear" for event in events)
    assert len(run.series["prefill"].values) == 1


def test_synthetic_prompts_are_run_as_long_as_they_are_asked_for(settings):
    data = {"dataset": "synthetic", "input_max_len": 40, "batch_size": 2}
    runner = HuggingFaceRunner(settings("tiny-llama", data=data)).init_model()
    run = runner.model_generate(runner.prompts())
    assert [sample.input_tokens for sample in run.samples] == [40, 40]
