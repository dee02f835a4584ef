"""Keys that settings of CANN's inference recipes have and runners here do not follow, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_msprof.errors import InvalidSettings

__all__ = ["MODEL_KEYS", "PARALLEL_KEYS", "RENAMED", "without_original_keys"]


class Original(NamedTuple):
    """One such key."""

    neutral: tuple[Any, ...]
    """Values that ask for nothing; with one of them it is left out of the settings."""
    instead: str


RENAMED: Mapping[str, str] = {"enable_auto_split_weight": "enable_online_split_weight"}
"""What a key was called before."""

NO_KERNEL = "it chooses a kernel of CANN, and models run here as transformers has them"
OTHER_ANSWERS = "it sends tokens to other experts than the model chose, so that answers are no longer the model's"

MODEL_KEYS: Mapping[str, Original] = {
    "next_n": Original((0,), "tokens are made one by one here, without drafts"),
    "perfect_eplb": Original((False,), OTHER_ANSWERS),
    "force_eplb": Original((False,), OTHER_ANSWERS),
    "enable_static_kernel": Original((False,), NO_KERNEL),
    "enable_superkernel": Original((False,), NO_KERNEL),
    "enable_multi_stream": Original((0, False), NO_KERNEL),
    "enable_multi_streams": Original((False,), NO_KERNEL),
    "enable_prefetch": Original((False,), NO_KERNEL),
    "enable_mla_prolog": Original((False,), NO_KERNEL),
    "enable_pypto": Original((False,), NO_KERNEL),
    "enable_hadamard": Original((False,), NO_KERNEL),
    "enable_pa": Original((False,), "keys and values lie in buffers of the length that data_config says"),
    "enable_afd": Original((False,), "every process holds a part of each layer: see parallel_config"),
    "enable_prefill_multi_cycle": Original((False,), "the prefill of a batch is one step: choose a smaller batch_size"),
    "prefill_mini_batch_size": Original((0,), "the prefill of a batch is one step: choose a smaller batch_size"),
    "moe_chunk_max_len": Original((65536,), "experts work on all tokens of a step: choose a smaller batch_size"),
    "pa_block_size": Original((128,), "keys and values lie in buffers of the length that data_config says"),
    "micro_batch_mode": Original((0,), "a batch runs as one: choose a smaller batch_size"),
    "mm_quant_mode": Original(("A16W16",), "how weights are quantized stands in the model's config.json"),
    "custom_params": Original(({},), "put keys that a model of your own reads into its config.json"),
}
"""Keys of the table `model_config`."""

PARALLEL_KEYS: Mapping[str, Original] = {
    "o_proj_tp_size": Original((1,), "the output projection is divided as attention is: set attn_tp_size"),
    "shared_tp_size": Original((1,), "no kind of model that can be divided here has shared experts"),
    "enable_o_proj_alltoall": Original((False,), "the output projection is divided as attention is: set attn_tp_size"),
    "cp_size": Original((1,), "requests are divided, not their tokens: set attn_dp_size"),
    "kvp_size": Original((1,), "keys and values are divided by heads: set attn_tp_size"),
    "tp_size": Original((1,), "set attn_tp_size, dense_tp_size, moe_tp_size, embed_tp_size and lmhead_tp_size"),
}
"""Keys of the table `parallel_config`."""


def without_original_keys(values: Mapping[str, Any], originals: Mapping[str, Original]) -> dict[str, Any]:
    """Return *values* under their names of today, without those of *originals* that ask for nothing.

    Raises `InvalidSettings` for one that asks for something.
    """
    found = {RENAMED.get(key, key): value for key, value in values.items()}
    for key, original in originals.items():
        if key in found and (value := found.pop(key)) not in original.neutral:
            possible = " or ".join(map(repr, original.neutral))
            raise InvalidSettings(f"settings key {key!r} must be {possible}, but is {value!r}: {original.instead}")
    return found
