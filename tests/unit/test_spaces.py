"""The spaces of the engines: made for a model and a machine, without what certainly cannot start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from msprof_plugins.model_memory import ModelMemory
from msprof_plugins.spaces import (
    GIB,
    MINDIE,
    SOURCES,
    mindie_on_devices,
    sglang_on_devices,
    transformers_serve,
    vllm_on_devices,
    vllm_on_processors,
)
from msprof_plugins.vllm import VllmSimulator
from pytest_msprof import Lengths, SearchSpace, Workload
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.service import bind

LLAMA = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
LOAD = Workload(input_tokens=1000, output_tokens=200)


@pytest.fixture
def model(tmp_path: Path):
    def model(config: dict, *, weights: int = 16 * GIB) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(config))
        with (tmp_path / "model.safetensors").open("wb") as file:
            file.truncate(weights)
        return tmp_path

    return model


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA, 2 * 32 * 8 * 128 * 2),
        ({"text_config": LLAMA}, 2 * 32 * 8 * 128 * 2),
        (LLAMA | {"torch_dtype": "float32", "head_dim": 64}, 2 * 32 * 8 * 64 * 4),
        ({"n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024}, 2 * 12 * 768 * 2),
        (LLAMA | {"kv_lora_rank": 512, "qk_rope_head_dim": 64}, 32 * 576 * 2),
    ],
)
def test_the_cache_of_a_token_follows_from_the_shape_of_the_model(model, config, expected):
    assert ModelMemory.of(model(config)).kv_per_token == expected


def test_sequences_do_not_share_blocks(model):
    needs = ModelMemory.of(model(LLAMA))
    cache = 100 * 16 * needs.kv_per_token

    assert needs.sequences(cache, 16) == 100
    assert needs.sequences(cache, 17) == 50
    assert needs.sequences(cache - 1, 16) == 99


@pytest.mark.parametrize("config", [{}, {"num_attention_heads": 4}, {"num_hidden_layers": "many"}])
def test_a_folder_that_is_no_model_says_what_is_missing(model, config):
    with pytest.raises(ConfigurationError, match=r"config\.json does not say how much memory"):
        ModelMemory.of(model(config))


def test_memory_bounds_the_sequences_and_the_split_of_the_weights(model):
    space = vllm_on_devices(model(LLAMA), LOAD, devices=4, memory=24 * GIB)
    held = ModelMemory.of(model(LLAMA)).sequences(4 * 24 * GIB * 0.95 - 16 * GIB, 1000)

    assert space["max_num_seqs"].max == int(held * 1.3)
    fits = {"max_num_seqs": 64, "max_num_batched_tokens": 512, "gpu_memory_utilization": 0.9, "block_size": 16}
    fits |= {"enable_chunked_prefill": True, "enable_prefix_caching": True, "async_scheduling": True}
    split = {"tensor_parallel_size": 2, "pipeline_parallel_size": 1, "data_parallel_size": 2}
    assert not space.violations(fits | split)
    assert space.violations(fits | split | {"data_parallel_size": 1})
    assert space.violations(fits | split | {"enable_chunked_prefill": False})
    small = vllm_on_devices(model(LLAMA), LOAD, devices=4, memory=12 * GIB)
    assert small.violations(fits | {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": 4})


def test_a_model_that_fits_nowhere_has_no_space(model):
    folder = model(LLAMA)

    with pytest.raises(ConfigurationError, match=r"16\.0 GiB of weights does not fit 1 × 12\.0 GiB"):
        vllm_on_devices(folder, LOAD, devices=1, memory=12 * GIB)
    with pytest.raises(ConfigurationError, match=r"16\.0 GiB of weights does not fit 1 × 12\.0 GiB"):
        sglang_on_devices(folder, LOAD, devices=1, memory=12 * GIB)
    with pytest.raises(ConfigurationError, match=r"16\.0 GiB of weights does not fit 1 × 12\.0 GiB"):
        mindie_on_devices(folder, LOAD, devices=1, memory=12 * GIB)
    with pytest.raises(ConfigurationError, match=r"leaves no KV cache in 24\.0 GiB"):
        vllm_on_processors(folder, LOAD, memory=24 * GIB)
    with pytest.raises(ConfigurationError, match="leaves no KV cache for one sequence"):
        transformers_serve(folder, LOAD, memory=24 * GIB)


def test_a_cache_that_does_not_hold_one_whole_sequence_is_no_trial(model):
    space = vllm_on_processors(model(LLAMA | {"max_position_embeddings": 32768}, weights=GIB), LOAD, memory=24 * GIB)
    started = {"max_num_seqs": 8, "max_num_batched_tokens": 2048, "block_size": 32, "omp_threads_bind": "auto"}
    started |= {"enforce_eager": False, "enable_prefix_caching": True, "stream_interval": 1}

    assert space.violations(started | {"kv_cache_space": 3})
    assert not space.violations(started | {"kv_cache_space": 4})
    assert space["kv_cache_space"].max == 20


@pytest.mark.parametrize("experts", [False, True])
def test_every_field_is_one_that_the_engine_takes_and_names_its_source(model, experts):
    folder = model(LLAMA, weights=GIB)
    spaces = [
        vllm_on_processors(folder, LOAD, memory=24 * GIB),
        vllm_on_devices(folder, LOAD, devices=8, memory=80 * GIB, experts=experts),
    ]

    for space in spaces:
        declared = {entry.name: entry for entry in space}
        bind(dict.fromkeys(declared), VllmSimulator().data_field, declared, "vllm")
        assert declared.keys() <= SOURCES.keys()
    assert {entry.name for entry in transformers_serve(folder, LOAD, memory=24 * GIB)} <= SOURCES.keys()


@pytest.mark.parametrize("experts", [False, True])
def test_sglang_splits_a_model_over_all_devices_and_names_its_options(model, experts):
    space = sglang_on_devices(model(LLAMA), LOAD, devices=4, memory=24 * GIB, experts=experts)

    assert {entry.config_position for entry in space} == {f"--{entry.name.replace('_', '-')}" for entry in space}
    assert {entry.name for entry in space} <= SOURCES.keys()
    split = {"tp_size": 2, "pp_size": 1, "dp_size": 2, "mem_fraction_static": 0.85, "schedule_policy": "lpm"}
    split |= {"ep_size": 2} if experts else {}
    assert not space.violations(split)
    assert space.violations(split | {"dp_size": 1})
    assert space.violations(split | {"disable_radix_cache": True})
    assert not space.violations(split | {"disable_radix_cache": ""})
    assert space.violations(split | {"ep_size": 4}) if experts else "ep_size" not in space


def test_memory_bounds_the_batch_of_mindie_as_theory_guides(model):
    folder = model(LLAMA)
    needs = ModelMemory.of(folder)
    cache = 2 * 32 * GIB * 0.8 - 16 * GIB

    batch = mindie_on_devices(folder, LOAD, devices=2, memory=32 * GIB)["max_batch_size"]

    assert batch.min == needs.sequences(cache, 1200, block=128)
    assert batch.max == pytest.approx(1.3 * needs.sequences(cache, 1000, block=128), abs=1)
    assert 10 < batch.min < batch.max < 1000


def test_what_the_memory_model_cut_off_is_said_with_the_reason(model):
    folder = model(LLAMA)
    vllm = vllm_on_devices(folder, LOAD, devices=4, memory=12 * GIB)
    processors = vllm_on_processors(
        model(LLAMA | {"max_position_embeddings": 32768}, weights=GIB), LOAD, memory=24 * GIB
    )
    mindie = mindie_on_devices(model(LLAMA), LOAD, devices=2, memory=32 * GIB)

    assert vllm.left_out == (
        f"max_num_seqs above {vllm['max_num_seqs'].max:g}: a KV cache of 29.6 GiB holds fewer of the shortest prompts",
        "copies of the model on 1 device: 16.0 GiB of weights do not fit",
    )
    assert "kv_cache_space above 20: 24.0 GiB hold the weights, too" in processors.left_out
    assert "kv_cache_space below 4: that holds no whole sequence" in processors.left_out
    low, high = (int(bound) for bound in (mindie["max_batch_size"].min, mindie["max_batch_size"].max))
    assert [sentence.partition(":")[0] for sentence in mindie.left_out] == [
        f"max_batch_size below {low}",
        f"max_batch_size above {high}",
    ]
    assert not vllm_on_devices(model(LLAMA, weights=GIB), LOAD, devices=8, memory=80 * GIB).left_out


def test_the_shortest_prompt_of_a_histogram_is_that_of_its_bins(model):
    prompts = Lengths.histogram((1000, 2000, 1.0), (500, 900, 2.0))
    spaces = [
        sglang_on_devices(model(LLAMA), Workload(input_tokens=tokens), devices=1, memory=24 * GIB)
        for tokens in (500, prompts)
    ]

    assert spaces[0]["max_running_requests"] == spaces[1]["max_running_requests"]


def test_a_batch_that_any_memory_holds_keeps_the_bounds_of_the_original(model):
    short = Workload(input_tokens=4, output_tokens=4)

    batch = mindie_on_devices(model(LLAMA), short, devices=8, memory=64 * GIB)["max_batch_size"]

    assert (batch.min, batch.max) == (10, 1000)


def test_the_fields_of_mindie_make_a_space():
    space = SearchSpace(*MINDIE)

    assert space.resolve({"max_batch_size": 100, "max_prefill_batch_size": 0.5})["max_prefill_batch_size"] == 50
