"""Keys and values of earlier tokens, in buffers that are allocated once, and the masks that go with them.

Slots are columns of the padded batch: with padding on the left, all requests write the same slot at
a step. Buffers have the full length in every layer, also where a layer attends to a window only: the
mask says what may be seen, so one graph serves all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["KeyValueCache", "Masks"]


class KeyValueCache:
    """What transformers' attention layers call a cache: `update` stores, and returns what may be attended to."""

    is_compileable = False

    def __init__(self, length: int, *, static: bool) -> None:
        self.length, self.static = length, static
        self.filled = 0
        """Slots that hold a token."""
        self.is_empty = False
        """Whether the step is a prefill, which has no earlier tokens."""
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.slots: torch.Tensor | None = None
        """Which slots the current step writes, shape ``(step,)``; used where all steps run one graph."""

    def update(self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Store *key* and *value*, shape ``(batch, heads, step, width)``, and return all that are there.

        A static cache returns whole buffers, empty slots included, except for a prefill.
        """
        if layer_idx == len(self.keys):
            self.keys.append(self._buffer(key))
            self.values.append(self._buffer(value))
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        if self.static:
            keys.index_copy_(2, self.slots, key)
            values.index_copy_(2, self.slots, value)
            return (key, value) if self.is_empty else (keys, values)
        end = self.filled + key.shape[2]
        keys[:, :, self.filled : end] = key
        values[:, :, self.filled : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def begin(self, tokens: int, device: torch.device) -> None:
        """Forget everything; the next step writes *tokens* tokens."""
        self.filled, self.is_empty = 0, True
        if self.static:
            self.slots = torch.arange(tokens, device=device)

    def advance(self, tokens: int) -> None:
        """Go on after a step that wrote *tokens* tokens; the next one writes a single token."""
        self.filled, self.is_empty = self.filled + tokens, False
        if self.slots is not None:
            self.slots = self.slots + 1 if tokens == 1 else self.slots[-1:] + 1

    def get_seq_length(self, _layer_idx: int = 0) -> int:
        """Return how many slots hold a token."""
        return self.filled

    def get_query_offset(self, _layer_idx: int = 0) -> int:
        """Return the slot of the step's first token."""
        return self.filled

    def get_mask_sizes(self, query_length: int, _layer_idx: int = 0) -> tuple[int, int]:
        """Return how many slots a mask of this step covers, and the first of them."""
        return self.length if self.static and not self.is_empty else self.filled + query_length, 0

    def _buffer(self, like: torch.Tensor) -> torch.Tensor:
        batch, heads, _, width = like.shape
        return like.new_zeros(batch, heads, self.length, width)


class Masks:
    """Who may attend to what, for each kind of layer: shape ``(batch, 1, queries, slots)``.

    Prefill has a mask of its own; after it one row a request is kept, and a step only opens the slot
    that it writes, and closes the one that leaves the window.
    """

    def __init__(self, padding: Sequence[int], tokens: int, cache: KeyValueCache, model: Any) -> None:
        self._cache, self._model = cache, model
        self._device, self._dtype = model.device, model.dtype
        self._tokens = tokens
        self._padding = torch.tensor(padding, device=self._device)
        self._padded = any(padding)
        self._windows = windows(model.config)
        self._rows: dict[str, torch.Tensor] = {}
        self._step = tokens

    def prefill(self) -> Any:
        """Return the mask of the prompts in the way the model takes it."""
        query = torch.arange(self._tokens, device=self._device)[:, None]
        slot = query.T
        found: dict[str, Any] = {}
        for kind, window in self._windows.items():
            if self._is_plain(window, self._tokens):
                found[kind] = None
                continue
            seen = (slot <= query) & (slot > query - window) if window else slot <= query
            allowed = seen & (slot >= self._padding[:, None, None]) | (slot == query)
            found[kind] = self._written(allowed[:, None])
        return self._spelled(found)

    def step(self) -> Any:
        """Return the mask of the next single token; call it once a step."""
        slot = self._step
        self._step += 1
        found: dict[str, Any] = {}
        for kind, window in self._windows.items():
            if not self._cache.static and self._is_plain(window, slot + 1):
                found[kind] = None
                continue
            row = self._row(kind, window, slot)
            row[..., slot] = self._on
            if window and slot >= window:
                row[..., slot - window] = self._off
            found[kind] = row if self._cache.static else row[..., : slot + 1]
        return self._spelled(found)

    @property
    def _on(self) -> float | bool:
        return 0.0 if self._additive else True

    @property
    def _off(self) -> float | bool:
        return torch.finfo(self._dtype).min if self._additive else False

    @property
    def _additive(self) -> bool:
        return bool(self._model.config._attn_implementation == "eager")  # noqa: SLF001 - transformers has no other name for it

    def _is_plain(self, window: int, filled: int) -> bool:
        """Say whether everything written may be seen: then no mask is the fastest mask."""
        return not self._padded and not self._additive and (not window or filled <= window)

    def _row(self, kind: str, window: int, slot: int) -> torch.Tensor:
        """Return the row of a request as it stands before *slot* is written."""
        if kind not in self._rows:
            slots = torch.arange(self._cache.length, device=self._device)[None, :]
            allowed = (slots < slot) & (slots >= self._padding[:, None])
            if window:
                allowed &= slots > slot - window
            self._rows[kind] = self._written(allowed[:, None, None])
        return self._rows[kind]

    def _written(self, allowed: torch.Tensor) -> torch.Tensor:
        if not self._additive:
            return allowed
        off = torch.full((), self._off, dtype=self._dtype, device=self._device)
        return torch.where(allowed, torch.zeros_like(off), off)

    def _spelled(self, found: dict[str, Any]) -> Any:
        return found if takes_mapping(self._model.config) else found["full_attention"]


def windows(config: Any) -> dict[str, int]:
    """Return the kinds of attention layers of a model, with the tokens that each sees; 0 is all."""
    window = int(getattr(config, "sliding_window", None) or 0)
    if not takes_mapping(config):
        return {"full_attention": window if getattr(config, "use_sliding_window", True) else 0}
    kinds = dict.fromkeys(config.layer_types)
    return {kind: window if kind == "sliding_attention" else 0 for kind in kinds}


def takes_mapping(config: Any) -> bool:
    """Say whether the model wants a mask for each kind of layer, in the place of one for all."""
    return bool(getattr(config, "layer_types", None))
