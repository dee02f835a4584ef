"""Which divisions of a model over processes are possible, before any weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytest_msprof.errors import InvalidSettings

__all__ = ["Layout", "check_model", "check_world"]


class Layout(NamedTuple):
    """Over how many processes each part is divided, with nothing left to be derived."""

    world_size: int
    attn_tp_size: int
    attn_dp_size: int
    moe_tp_size: int
    moe_ep_size: int
    dense_tp_size: int
    embed_tp_size: int
    lmhead_tp_size: int


def check_world(world_size: int, sizes: Mapping[str, int | None]) -> Layout:
    """Return the whole layout that *sizes*, keys of `parallel_config`, mean among *world_size* processes.

    Raises `InvalidSettings` where a size does not divide the world, or two sizes do not fill it.
    """
    given = {key: value for key, value in sizes.items() if value is not None}
    for key, value in given.items():
        if world_size % value:
            raise InvalidSettings(f"{key} must divide world_size {world_size}, but is {value}")
    whole = {
        "attn_dp_size": world_size // given.get("attn_tp_size", 1),
        "moe_ep_size": world_size // given.get("moe_tp_size", 1),
        **given,
    }
    for one, other in (("attn_tp_size", "attn_dp_size"), ("moe_tp_size", "moe_ep_size")):
        if (product := whole.get(one, 1) * whole[other]) != world_size:
            raise InvalidSettings(f"{one} × {other} must be world_size {world_size}, but is {product}")
    return Layout(world_size=world_size, **{key: whole.get(key, 1) for key in Layout._fields[1:]})


def check_model(config: Mapping[str, Any], layout: Layout) -> None:
    """Raise `InvalidSettings` where a size does not divide what it divides in the model of *config*.

    *config* is the content of `config.json`. Fewer key-value heads than processes are possible
    where each is shared by the same number of processes.
    """
    for what, count, key, size in _divided(config, layout):
        if count % size and not (what == "num_key_value_heads" and size % count == 0):
            raise InvalidSettings(f"{key} must divide the model's {what} {count}, but is {size}")


def _divided(config: Mapping[str, Any], layout: Layout) -> Iterator[tuple[str, int, str, int]]:
    """Yield what is divided, how much of it there is, and by which size."""
    experts = next((name for name in ("num_experts", "num_local_experts", "n_routed_experts") if config.get(name)), "")
    expert_width = "moe_intermediate_size" if config.get("moe_intermediate_size") else "intermediate_size"
    pairs = [
        ("num_attention_heads", "attn_tp_size"),
        ("num_key_value_heads", "attn_tp_size"),
        ("vocab_size", "embed_tp_size"),
        ("vocab_size", "lmhead_tp_size"),
        *([(experts, "moe_ep_size"), (expert_width, "moe_tp_size")] if experts else []),
        *([] if experts and expert_width == "intermediate_size" else [("intermediate_size", "dense_tp_size")]),
    ]
    for what, key in pairs:
        if isinstance(count := config.get(what), int):
            yield what, count, key, getattr(layout, key)
