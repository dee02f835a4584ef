"""The forward pass of a decoder in few operations, for the models of transformers whose parts are known.

A step of a small batch is short, and most of it goes into what surrounds the arithmetic: one call for
each module, one operation for each line of its code. Here the same weights go through the same
arithmetic with joint projections, one rotation for queries and keys, and keys and values that are
never repeated for the queries that share them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from msprof_runners.cache import KeyValueCache
from msprof_runners.linears import joined

__all__ = ["FAMILIES", "Decoder", "Step"]

FAMILIES = ("GptOssForCausalLM", "LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM")
"""Classes of transformers, and those that inherit their `forward`, whose parts are known."""
ATTENTION = ("sdpa", "eager")
INPUTS = {"input_ids", "position_ids", "attention_mask", "past_key_values"}
IGNORED = {"use_cache", "logits_to_keep"}
DEVICES = ("cpu", "cuda")
"""Where it was tried, or what has the same operations."""
MASK_DIMENSIONS = 4
GATED = {"gate_proj", "up_proj", "down_proj", "act_fn"}
"""The children of a dense layer's MLP."""

Operation = Callable[[torch.Tensor], torch.Tensor]


class Step(NamedTuple):
    """What a model gives out."""

    logits: torch.Tensor
    """Shape ``(batch, 1, vocabulary)``: those of the last column."""


class Decoder:
    """Takes the arguments of *model* that a runner prepares; for any others it asks the model itself."""

    def __init__(self, model: Any) -> None:
        self.model = model
        body = model.model
        self._embed, self._rotary = body.embed_tokens, body.rotary_emb
        self._layers = [_Layer(layer, model.config) for layer in body.layers]
        self._norm = _norm(body.norm, body.embed_tokens.weight.dtype)
        self._head = joined(model, ["lm_head"], shared=model.lm_head.weight is body.embed_tokens.weight)

    @classmethod
    def of(cls, model: Any) -> Decoder | None:
        """Return the forward pass of *model*, None where something in it is not known.

        Its projections are joined or packed; it remains a model that can be called and saved.
        """
        return cls(model) if _is_known(model) else None

    def __call__(self, **inputs: Any) -> Any:
        """Return an object with `logits`, of the last column where only that is wanted."""
        if not _are_known(inputs):
            return self.model(**inputs)
        cache, masks = inputs["past_key_values"], inputs["attention_mask"]
        hidden = self._embed(inputs["input_ids"])
        cosine, sine = self._rotary(hidden, inputs["position_ids"])
        rotation = _rotation(cosine, sine, self._layers[0].width)
        for layer in self._layers:
            mask = masks[layer.kind] if isinstance(masks, dict) else masks
            hidden = layer(hidden, rotation, mask, cache)
        return Step(self._head(self._norm(hidden[:, -1:])))


class _Layer:
    """Attention and MLP of one layer."""

    def __init__(self, layer: Any, config: Any) -> None:
        attention = layer.self_attn
        dtype = attention.q_proj.weight.dtype
        self._index = attention.layer_idx
        self.kind = (getattr(config, "layer_types", None) or {self._index: ""})[self._index]
        self.width = attention.head_dim
        self._queries = attention.q_proj.weight.shape[0] // self.width
        self._keys = attention.k_proj.weight.shape[0] // self.width
        self._attend = _attend(attention, config._attn_implementation)  # noqa: SLF001 - transformers has no other name
        self._project = joined(attention, ["q_proj", "k_proj", "v_proj"])
        self._output = joined(attention, ["o_proj"])
        self._norms = [
            _norm(getattr(attention, name), dtype) for name in ("q_norm", "k_norm") if hasattr(attention, name)
        ]
        self._before_attention = _norm(layer.input_layernorm, dtype)
        self._before_mlp = _norm(layer.post_attention_layernorm, dtype)
        self._mlp = _mlp(layer.mlp)

    def __call__(self, hidden: Any, rotation: Any, mask: Any, cache: Any) -> Any:
        projected = self._project(self._before_attention(hidden))
        heads = projected.view(*hidden.shape[:2], -1, self.width)
        turned, values = heads.split((self._queries + self._keys, self._keys), dim=2)
        if self._norms:
            parts = turned.split((self._queries, self._keys), dim=2)
            turned = torch.cat([norm(part) for norm, part in zip(self._norms, parts, strict=True)], dim=2)
        cosine, sine = rotation
        turned = turned * cosine + turned.roll(self.width // 2, -1) * sine
        queries, keys = turned.transpose(1, 2).split((self._queries, self._keys), dim=1)
        keys, values = cache.update(keys, values.transpose(1, 2), self._index)
        attended = self._attend(queries, keys, values, mask)
        hidden = hidden + self._output(attended.reshape(*hidden.shape[:2], -1))
        return hidden + self._mlp(self._before_mlp(hidden))


def _rotation(cosine: torch.Tensor, sine: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return factors for a head and for a head whose halves are exchanged, shape ``(batch, step, 1, width)``.

    transformers negates one half of each head in the place of the sine's. Some models give each angle once.
    """
    if sine.shape[-1] < width:
        cosine, first, second = torch.cat((cosine, cosine), dim=-1), sine, sine
    else:
        first, second = sine.split(width // 2, dim=-1)
    return cosine.unsqueeze(2), torch.cat((-first, second), dim=-1).unsqueeze(2)


def _norm(norm: Any, dtype: torch.dtype) -> Operation:
    """Return *norm* as one operation; with fewer bits its own steps are kept, since each of them rounds."""
    if norm.weight.dtype is dtype is torch.float32:
        weight, epsilon = norm.weight.detach(), norm.variance_epsilon
        return partial(functional.rms_norm, normalized_shape=weight.shape, weight=weight, eps=epsilon)
    return norm  # type: ignore[no-any-return]


def _mlp(mlp: Any) -> Operation:
    if {name for name, _ in mlp.named_children()} == GATED:
        gates, down = joined(mlp, ["gate_proj", "up_proj"]), joined(mlp, ["down_proj"])
        return partial(_gated, gates=gates, activation=mlp.act_fn, down=down)
    return partial(_mixed, mlp=mlp)


def _gated(rows: torch.Tensor, *, gates: Operation, activation: Operation, down: Operation) -> torch.Tensor:
    gate, up = gates(rows).chunk(2, dim=-1)
    return down(activation(gate) * up)


def _mixed(rows: torch.Tensor, *, mlp: Any) -> torch.Tensor:
    found = mlp(rows)
    return found[0] if isinstance(found, tuple) else found


def _attend(attention: Any, implementation: str) -> Callable[..., torch.Tensor]:
    """Return what attends, with heads of queries, keys and values, and a mask."""
    if implementation == "eager":
        stock = sys.modules[type(attention).__module__].eager_attention_forward
        return partial(_attend_as_stock, stock=stock, attention=attention)
    return partial(_attend_at_once, scale=attention.scaling)


def _attend_as_stock(*heads_and_mask: Any, stock: Callable[..., Any], attention: Any) -> torch.Tensor:
    found: torch.Tensor = stock(attention, *heads_and_mask, scaling=attention.scaling)[0]
    return found


def _attend_at_once(queries: Any, keys: Any, values: Any, mask: Any, *, scale: float) -> torch.Tensor:
    """Attend with `scaled_dot_product_attention`; a single query lies beside those that share its keys."""
    batch, heads, step, width = queries.shape
    shared = heads // keys.shape[1]
    if step == 1:
        packed = queries.reshape(batch, keys.shape[1], shared, width)
        found = functional.scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scale)
        return found.reshape(batch, 1, -1)
    if mask is not None and shared > 1:
        keys, values = keys.repeat_interleave(shared, dim=1), values.repeat_interleave(shared, dim=1)
    found = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=mask is None
    )
    return found.transpose(1, 2)


def _are_known(inputs: Mapping[str, Any]) -> bool:
    """Say whether these are the arguments that a runner of the package makes."""
    if inputs.keys() - IGNORED != INPUTS or inputs.get("logits_to_keep") != 1:
        return False
    masks = inputs["attention_mask"]
    some = masks.values() if isinstance(masks, dict) else (masks,)
    whole = all(mask is None or mask.dim() == MASK_DIMENSIONS for mask in some)
    return whole and isinstance(inputs["past_key_values"], KeyValueCache)


def _is_known(model: Any) -> bool:
    """Say whether *model* is of a known family, and every part of it as transformers makes it."""
    own = (cls for cls in type(model).__mro__ if cls.__module__.startswith("transformers."))
    stock = next((cls for cls in own if cls.__name__ in FAMILIES), None)
    if stock is None or type(model).forward is not vars(stock)["forward"] or model.training:
        return False
    if model.config._attn_implementation not in ATTENTION or model.device.type not in DEVICES:  # noqa: SLF001 - transformers has no other name
        return False
    plain = all(type(weight.detach()) is torch.Tensor for weight in model.parameters())
    return plain and all(_is_stock(part) for part in model.modules() if part is not model)


def _is_stock(part: torch.nn.Module) -> bool:
    known = type(part).__module__.startswith(("transformers.", "torch.nn."))
    return known and "forward" not in vars(part) and not (part._forward_hooks or part._forward_pre_hooks)  # noqa: SLF001 - torch has no other name
