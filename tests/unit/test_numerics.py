"""A field that changes numerics is known by its name, however an engine spells it."""

from __future__ import annotations

import pytest

from pytest_msprof import choice
from pytest_msprof.numerics import may_change_answers


@pytest.mark.parametrize(
    "name",
    [
        *("dtype", "DTYPE", "torch_dtype", "torchDtype", "precision", "quantization", "quantize", "load_in_int8"),
        *("kv_cache_dtype", "kv-cache-dtype", "KV_CACHE_DTYPE", "kvCacheDtype", "kv_dtype", "kv_cache_quantization"),
        *("kv_cache_type", "cache_type_k", "cache-type-v", "calculate_fp8_kv_scales"),
        *("speculative", "speculative_config", "speculative-algorithm", "num_speculative_tokens", "speculative_model"),
        *("speculative_num_steps", "speculative_num_draft_tokens", "speculative_eagle_topk", "spec_decode"),
        *("draft_max", "num_draft_tokens", "num_assistant_tokens", "prompt_lookup_num_tokens"),
    ],
)
def test_a_name_of_precision_quantization_cache_type_or_drafts_changes_numerics(name):
    assert may_change_answers(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_num_seqs", "max_num_batched_tokens", "enable_prefix_caching", "prefix_caching", "block_size"),
        *("cache_type", "kv_cache_space", "prefix_cache_type", "kv_cache_memory", "swap_space", "scheduler_type"),
        *("speculative_prefetch", "speculative_log_level", "specialized_kernels", "inspect", "special_tokens"),
        *("quantile", "max_tokens", "num_tokens", "stream_interval", "print_interval", "int_size", "maxBatchSize"),
    ],
)
def test_other_names_do_not(name):
    assert not may_change_answers(name)


def test_what_an_author_said_of_a_field_goes_before_its_name():
    assert choice("turbo", [0, 1]).marked(numerics=True).changes_numerics
    assert not choice("dtype", ["a", "b"]).marked(numerics=False).changes_numerics
