"""What processes tell each other inside one step: sums of partial outputs, words they do not hold, experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from msprof_runners.division import Division, Share

__all__ = ["connect", "gathered"]

Hook = Callable[..., Any]


def connect(model: Any, division: Division, groups: dict[int, Any], counterparts: Any = None) -> None:
    """Make *model*, whose weights are the parts of *division*, answer as the whole one does.

    *groups* holds a group of processes for each size of the layout above 1; *counterparts* is that of
    the processes with other requests, if there are any: experts work for the requests of all.
    """
    layout = division.layout
    for name, module in list(model.named_modules()):
        end = ".".join(name.rsplit(".", 2)[-2:])
        if end == "self_attn.o_proj" and layout.attn_tp_size > 1:
            module.register_forward_hook(_summing(groups[layout.attn_tp_size]))
        elif end == "mlp.down_proj" and layout.dense_tp_size > 1:
            module.register_forward_hook(_summing(groups[layout.dense_tp_size]))
        elif end == "mlp.experts":
            module.num_experts //= layout.moe_ep_size
            if layout.attn_dp_size > 1:
                module.register_forward_pre_hook(_bringing_together(counterparts, layout.attn_dp_size))
            module.register_forward_pre_hook(_choosing(division.share("experts"), module.num_experts))
            module.register_forward_hook(_summing(groups[layout.world_size]))
            if layout.attn_dp_size > 1:
                module.register_forward_hook(_keeping(division.share("requests")))
        elif name.endswith("self_attn"):
            module.num_key_value_groups = module.q_proj.weight.shape[0] // module.k_proj.weight.shape[0]
    if layout.lmhead_tp_size > 1:
        model.lm_head.register_forward_hook(_gathering(groups[layout.lmhead_tp_size], layout.lmhead_tp_size))
    if layout.embed_tp_size > 1:
        words, group = division.share("embedded words"), groups[layout.embed_tp_size]
        model.set_input_embeddings(_DividedEmbedding(model.get_input_embeddings().weight, words, group))


def _summing(group: Any) -> Hook:
    """Return a hook that adds up what each process computed from its part."""

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        dist.all_reduce(output, group=group)
        return output

    return add


def _gathering(group: Any, count: int) -> Hook:
    """Return a hook that lays the outputs of *count* processes side by side."""

    def gather(_module: Any, _inputs: Any, output: Any) -> Any:
        return gathered(output, group, count, dim=-1)

    return gather


def gathered(part: torch.Tensor, group: Any, count: int, *, dim: int = 0) -> torch.Tensor:
    """Return the parts of all *count* processes of *group*, one after another along *dim*."""
    parts = [torch.empty_like(part) for _ in range(count)]
    dist.all_gather(parts, part.contiguous(), group=group)
    return torch.cat(parts, dim=dim)


def _bringing_together(group: Any, count: int) -> Hook:
    """Return a hook before the experts: they get the tokens of all requests, and what each chose."""

    def bring(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(gathered(part, group, count) for part in inputs)

    return bring


def _keeping(share: Share) -> Hook:
    """Return a hook after the experts: each process goes on with the tokens of its own requests."""

    def keep(_module: Any, _inputs: Any, output: Any) -> Any:
        return output[share.of(output.shape[0])]

    return keep


def _choosing(share: Share, held: int) -> Hook:
    """Return a hook that gives experts of other processes a weight of 0, and the place of one that is here."""
    first = share.index * held

    def choose(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, chosen, weights = inputs
        local = chosen - first
        here = (local >= 0) & (local < held)
        return hidden, torch.where(here, local, 0), torch.where(here, weights, 0)

    return choose


class _DividedEmbedding(torch.nn.Module):  # type: ignore[misc]
    """The vectors of some words; those of the others come from other processes."""

    def __init__(self, weight: torch.nn.Parameter, share: Share, group: Any) -> None:
        super().__init__()
        self.weight = weight
        self._first = share.index * weight.shape[0]
        self._group = group

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors of *input_ids*, the same in every process."""
        local = input_ids - self._first
        here = (local >= 0) & (local < self.weight.shape[0])
        found = torch.nn.functional.embedding(torch.where(here, local, 0), self.weight)
        found = torch.where(here[..., None], found, 0)
        dist.all_reduce(found, group=self._group)
        return found
