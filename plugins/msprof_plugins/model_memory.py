"""What a model needs in memory, read from its folder: weights, and the KV cache of a token."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pytest_msprof.errors import ConfigurationError

__all__ = ["BLOCK", "ModelMemory"]

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}
BLOCK = 16
"""Tokens of a KV block where nobody says otherwise (vLLM on accelerators)."""


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """Bytes that a model needs, whatever the engine does on top."""

    weights: int
    """Bytes of the weights as they lie on disk."""
    kv_per_token: int
    """Bytes of the KV cache that one token fills, over all layers."""
    positions: int
    """Tokens that a sequence can have."""
    heads: int
    """Attention heads: what tensor parallelism divides."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read `config.json` and the sizes of the weight files.

        Keys and values of each layer and KV head; latent attention keeps one compressed vector a
        layer instead (DeepSeek-V2, arXiv 2405.04434). Sliding windows are not subtracted, so this is
        an upper bound for them. Raises `ConfigurationError` for a folder that does not say.
        """
        path = folder / "config.json"
        try:
            config: Any = json.loads(path.read_text(encoding="utf-8"))
            told = {**config, **config.get("text_config", {})}
            heads = _number(told, "num_attention_heads", "n_head")
            layers = _number(told, "num_hidden_layers", "n_layer")
            width = BYTES.get(str(told.get("dtype") or told.get("torch_dtype") or "bfloat16"), 2)
            files = [*folder.glob("*.safetensors")] or [*folder.glob("*.bin")]
            return cls(
                weights=sum(file.stat().st_size for file in files),
                kv_per_token=layers * _vector(told, heads) * width,
                positions=_number(told, "max_position_embeddings", "n_positions"),
                heads=heads,
            )
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ConfigurationError(f"{path} does not say how much memory the model needs: {error}") from None

    def sequences(self, cache: float, tokens: int, *, block: int = BLOCK) -> int:
        """Return how many sequences of *tokens* a KV cache of *cache* bytes holds: blocks are never shared out."""
        blocks = int(cache // (self.kv_per_token * block))
        return blocks // math.ceil(tokens / block)


def _vector(config: Mapping[str, Any], heads: int) -> int:
    """Return how many numbers a layer keeps of a token."""
    if config.get("kv_lora_rank"):
        return int(config["kv_lora_rank"]) + int(config.get("qk_rope_head_dim") or 0)
    head = config.get("head_dim") or _number(config, "hidden_size", "n_embd") // heads
    return 2 * int(config.get("num_key_value_heads") or heads) * int(head)


def _number(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if config.get(name):
            return int(config[name])
    raise KeyError(f"no {' or '.join(names)}")
