"""What a tiny model is made of: sizes, configuration and weights, for each architecture that can be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODELS", "Noise", "Shape", "Weights", "configuration", "weights"]

DEVIATION = 0.02
Weights = Iterator[tuple[str, NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a transformer: a decoder with grouped-query attention, or an encoder."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    positions: int
    family: str = "qwen2"
    """The `model_type` of transformers."""
    experts: int = 0
    """Experts of each layer, of which two work on a token; 0 is a dense model."""
    window: int = 0
    """Tokens that every other layer attends to; 0 is all in all layers."""
    tied: bool = True
    """Whether the output projection is the embedding."""
    deviation: float = DEVIATION
    """Of the projections; larger ones make answers that depend more on their prompt."""

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


def _lively(family: str, **sizes: Any) -> Shape:
    """Return a shape of 1 to 2 million parameters whose answers are no repetition of one token."""
    wanted: dict[str, Any] = {
        "vocabulary": 4096,
        "hidden": 128,
        "intermediate": 256,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "positions": 4096,
        "tied": False,
        "deviation": 0.12,
    }
    return Shape(family=family, **(wanted | sizes))


MODELS: Mapping[str, Shape] = {
    "tiny-qwen2": Shape(vocabulary=4096, hidden=256, intermediate=512, layers=4, heads=4, kv_heads=2, positions=4096),
    "tiny-llama": _lively("llama"),
    "tiny-qwen3": _lively("qwen3"),
    "tiny-qwen3-moe": _lively("qwen3_moe", intermediate=64, experts=8),
    "tiny-gpt-oss": _lively("gpt_oss", intermediate=64, experts=8, window=16),
    "tiny-bert": _lively("bert", intermediate=512, kv_heads=4, positions=512),
    "tiny-clip": _lively("clip", intermediate=512, kv_heads=4, positions=77),
}
"""The models that can be made, in bf16. `tiny-qwen2`, the engines' default, has 3.4 million parameters (7 MB)."""

CLASSES = {
    "gpt_oss": "GptOssForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def configuration(shape: Shape, token_ids: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `config.json`."""
    return {
        **token_ids,
        "architectures": [CLASSES[shape.family]],
        "attention_dropout": 0.0,
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": DEVIATION,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.positions,
        "model_type": shape.family,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": shape.tied,
        "use_cache": True,
        "vocab_size": shape.vocabulary,
        **_own(shape),
    }


def _own(shape: Shape) -> dict[str, Any]:
    """Return what only this family knows."""
    if shape.family == "qwen2":
        return {"use_sliding_window": False}
    found: dict[str, Any] = {"head_dim": shape.head, "attention_bias": shape.family == "gpt_oss"}
    if shape.experts:
        found["num_experts_per_tok"] = 2
    if shape.family == "qwen3_moe":
        found |= {"num_experts": shape.experts, "moe_intermediate_size": shape.intermediate, "norm_topk_prob": True}
        found |= {"decoder_sparse_step": 1, "mlp_only_layers": []}
    if shape.family == "gpt_oss":
        kinds = ("sliding_attention", "full_attention")
        found |= {"num_local_experts": shape.experts, "sliding_window": shape.window}
        found |= {"layer_types": [kinds[layer % 2] for layer in range(shape.layers)]}
    return found


def weights(shape: Shape, silent: list[int]) -> Weights:
    """Yield the tensors by name: projections normal, norms 1, biases 0.

    Random weights soon repeat one token for ever. With outputs of 0 the *silent* ones never win:
    an answer has text in every chunk, and does not end before its length.
    """
    noise = Noise(shape.deviation)
    embeddings = noise(shape.vocabulary, shape.hidden)
    embeddings[silent] = 0
    yield "model.embed_tokens.weight", embeddings
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        yield from _attention(shape, f"{at}.self_attn", noise)
        yield from _MLPS.get(shape.family, _dense)(shape, f"{at}.mlp", noise)
        yield f"{at}.input_layernorm.weight", np.ones(shape.hidden, np.float32)
        yield f"{at}.post_attention_layernorm.weight", np.ones(shape.hidden, np.float32)
    yield "model.norm.weight", np.ones(shape.hidden, np.float32)
    if not shape.tied:
        outputs = noise(shape.vocabulary, shape.hidden)
        outputs[silent] = 0
        yield "lm_head.weight", outputs


class Noise:
    """Draws normal values as sums of twelve uniform ones.

    Integers all the way: NumPy promises the bits of PCG64, but not those of its normal distribution.
    """

    def __init__(self, deviation: float) -> None:
        self._bits, self._deviation = np.random.PCG64(0), deviation

    def __call__(self, *shape: int) -> NDArray[np.float32]:
        """Return the next values in an array of *shape*."""
        words = self._bits.random_raw(int(np.prod(shape)) * 3).astype("<u8", copy=False)
        sums = words.view("<u2").reshape(*shape, 12).sum(axis=-1, dtype=np.int64)
        return np.asarray((sums - 6 * 0xFFFF) * (self._deviation / 0x10000), np.float32)


def _attention(shape: Shape, at: str, noise: Noise) -> Weights:
    query, key = shape.heads * shape.head, shape.kv_heads * shape.head
    for name, width in (("q", query), ("k", key), ("v", key)):
        yield f"{at}.{name}_proj.weight", noise(width, shape.hidden)
        if shape.family in ("qwen2", "gpt_oss"):
            yield f"{at}.{name}_proj.bias", np.zeros(width, np.float32)
    yield f"{at}.o_proj.weight", noise(shape.hidden, query)
    if shape.family.startswith("qwen3"):
        yield f"{at}.q_norm.weight", np.ones(shape.head, np.float32)
        yield f"{at}.k_norm.weight", np.ones(shape.head, np.float32)
    if shape.family == "gpt_oss":
        yield f"{at}.o_proj.bias", np.zeros(shape.hidden, np.float32)
        yield f"{at}.sinks", noise(shape.heads)


def _dense(shape: Shape, at: str, noise: Noise) -> Weights:
    yield f"{at}.gate_proj.weight", noise(shape.intermediate, shape.hidden)
    yield f"{at}.up_proj.weight", noise(shape.intermediate, shape.hidden)
    yield f"{at}.down_proj.weight", noise(shape.hidden, shape.intermediate)


def _single_experts(shape: Shape, at: str, noise: Noise) -> Weights:
    """Yield experts of which each has weights of its own, as Qwen3 stores them."""
    yield f"{at}.gate.weight", noise(shape.experts, shape.hidden)
    for expert in range(shape.experts):
        yield from _dense(shape, f"{at}.experts.{expert}", noise)


def _joint_experts(shape: Shape, at: str, noise: Noise) -> Weights:
    """Yield experts that share a tensor, gate and up projection by turns, as GptOss stores them."""
    yield f"{at}.router.weight", noise(shape.experts, shape.hidden)
    yield f"{at}.router.bias", noise(shape.experts)
    yield f"{at}.experts.gate_up_proj", noise(shape.experts, shape.hidden, 2 * shape.intermediate)
    yield f"{at}.experts.gate_up_proj_bias", noise(shape.experts, 2 * shape.intermediate)
    yield f"{at}.experts.down_proj", noise(shape.experts, shape.intermediate, shape.hidden)
    yield f"{at}.experts.down_proj_bias", noise(shape.experts, shape.hidden)


_MLPS = {"gpt_oss": _joint_experts, "qwen3_moe": _single_experts}
