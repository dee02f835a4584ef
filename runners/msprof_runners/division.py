"""Which part of each weight a process holds: heads, widths, experts and words, by the name of the weight."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msprof_runners.parallel import Layout
from pytest_msprof.errors import ConfigurationError

__all__ = ["FAMILIES", "Division", "Part", "Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """One of *count* equal parts."""

    count: int
    index: int

    def of(self, length: int) -> slice:
        """Return what it is of *length* things in a row."""
        width = length // self.count
        return slice(self.index * width, (self.index + 1) * width)


class Part(NamedTuple):
    """What one process holds of one weight."""

    places: tuple[slice, ...]
    """Of each axis, in the whole weight."""
    is_zero: bool = False
    """Whether it is held as zeros: a bias in a sum over processes, which one of them adds."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its own shape."""
        return tuple(place.stop - place.start for place in self.places)


class Rule(NamedTuple):
    """How one kind of weight is divided."""

    axes: Mapping[int, str]
    """Axis → by what it is divided."""
    once: str = ""
    """By what the sum that this bias belongs to is divided."""


WHOLE = Rule({})
PROJECTIONS: Mapping[str, Rule] = {
    r"model\.embed_tokens\.weight": Rule({0: "embedded words"}),
    r"lm_head\.weight": Rule({0: "words"}),
    r"model\.norm\.weight": WHOLE,
    r"input_layernorm\.weight|post_attention_layernorm\.weight|self_attn\.[qk]_norm\.weight": WHOLE,
    r"self_attn\.q_proj\.(weight|bias)|self_attn\.sinks": Rule({0: "heads"}),
    r"self_attn\.[kv]_proj\.(weight|bias)": Rule({0: "key-value heads"}),
    r"self_attn\.o_proj\.weight": Rule({1: "heads"}),
    r"self_attn\.o_proj\.bias": Rule({}, once="heads"),
    r"mlp\.(gate|up)_proj\.(weight|bias)": Rule({0: "width"}),
    r"mlp\.down_proj\.weight": Rule({1: "width"}),
    r"mlp\.down_proj\.bias": Rule({}, once="width"),
}
SINGLE_EXPERTS: Mapping[str, Rule] = {
    r"mlp\.gate\.weight": WHOLE,
    r"mlp\.experts\.gate_up_proj": Rule({0: "experts", 1: "expert width"}),
    r"mlp\.experts\.down_proj": Rule({0: "experts", 2: "expert width"}),
    r"mlp\.experts\.\d+\.(gate|up)_proj\.weight": Rule({0: "expert width"}),
    r"mlp\.experts\.\d+\.down_proj\.weight": Rule({1: "expert width"}),
}
JOINT_EXPERTS: Mapping[str, Rule] = {
    r"mlp\.router\.(weight|bias)": WHOLE,
    r"mlp\.experts\.gate_up_proj": Rule({0: "experts", 2: "expert width"}),
    r"mlp\.experts\.gate_up_proj_bias": Rule({0: "experts", 1: "expert width"}),
    r"mlp\.experts\.down_proj": Rule({0: "experts", 1: "expert width"}),
    r"mlp\.experts\.down_proj_bias": Rule({0: "experts"}, once="expert width"),
}
FAMILIES: Mapping[str, Mapping[str, Rule]] = {
    "gpt_oss": {**PROJECTIONS, **JOINT_EXPERTS},
    "llama": PROJECTIONS,
    "qwen2": PROJECTIONS,
    "qwen3": PROJECTIONS,
    "qwen3_moe": {**PROJECTIONS, **SINGLE_EXPERTS},
}
"""Kind of model, as `model_type` says → how its weights are divided, by the end of their names."""
LAYER = re.compile(r"model\.layers\.\d+\.")


class Division:
    """The part of one process in a model; processes that share something follow each other in rank.

    Raises `ConfigurationError` for a kind of model that nobody knows how to divide, and for a layout
    in which processes with different requests would share more than experts.
    """

    def __init__(self, config: Any, layout: Layout, rank: int) -> None:
        if config.model_type not in FAMILIES:
            raise ConfigurationError(
                f"a model of type {config.model_type!r} cannot be divided over {layout.world_size} processes "
                f"(possible: {', '.join(FAMILIES)})"
            )
        if layout.attn_dp_size > 1:
            _check_neighbours(layout)
        self.layout, self.rank = layout, rank
        self._rules = FAMILIES[config.model_type]
        self._shares = _shares(layout, rank, key_value_heads=config.num_key_value_heads)

    def share(self, kind: str) -> Share:
        """Return this process's share of *kind*, as the rules call it."""
        return self._shares[kind]

    def part(self, name: str, shape: Sequence[int]) -> Part:
        """Return what this process holds of the weight *name*, whose whole has *shape*.

        Raises `ConfigurationError` for a weight that no rule knows: none is held whole by accident.
        """
        rule = self._rule(name)
        places = tuple(
            self._shares[rule.axes[axis]].of(length) if axis in rule.axes else slice(0, length)
            for axis, length in enumerate(shape)
        )
        return Part(places, is_zero=bool(rule.once) and self._shares[rule.once].index > 0)

    def _rule(self, name: str) -> Rule:
        tail = LAYER.sub("", name, count=1)
        for pattern, rule in self._rules.items():
            if re.fullmatch(pattern, tail):
                return rule
        raise ConfigurationError(f"nobody knows how to divide the weight {name} over processes")


def _check_neighbours(layout: Layout) -> None:
    for key in ("dense_tp_size", "embed_tp_size", "lmhead_tp_size"):
        if layout.attn_tp_size % (size := getattr(layout, key)):
            raise ConfigurationError(
                f"{key} must divide attn_tp_size {layout.attn_tp_size} where attn_dp_size is above 1, but is {size}: "
                "processes with different requests share experts only"
            )


def _shares(layout: Layout, rank: int, *, key_value_heads: int) -> dict[str, Share]:
    """Return the share of everything that is divided.

    Where there are fewer key-value heads than processes, neighbours hold the same one.
    """
    attention = Share(layout.attn_tp_size, rank % layout.attn_tp_size)
    shared_by = max(1, layout.attn_tp_size // key_value_heads)
    return {
        "heads": attention,
        "key-value heads": Share(attention.count // shared_by, attention.index // shared_by),
        "requests": Share(layout.attn_dp_size, rank // layout.attn_tp_size),
        "width": Share(layout.dense_tp_size, rank % layout.dense_tp_size),
        "experts": Share(layout.moe_ep_size, rank // layout.moe_tp_size),
        "expert width": Share(layout.moe_tp_size, rank % layout.moe_tp_size),
        "embedded words": Share(layout.embed_tp_size, rank % layout.embed_tp_size),
        "words": Share(layout.lmhead_tp_size, rank % layout.lmhead_tp_size),
    }
