"""The processes that run one model together, and this one's place among them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msprof_runners.parallel import Layout
from pytest_msprof.errors import ConfigurationError

__all__ = ["RENDEZVOUS", "World", "is_joined"]

RENDEZVOUS = "MSPROF_RENDEZVOUS"
"""Environment variable: where processes that we started meet, a URL for torch; torchrun's meet by `env://`."""


def is_joined() -> bool:
    """Say whether this process was started as one of several, by torchrun or by us."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one runner."""

    size: int = 1
    rank: int = 0
    local_rank: int = 0
    """Place among the processes of this machine, which chooses the device."""

    @classmethod
    def of(cls, size: int) -> World:
        """Return this process's place among *size*; raises `ConfigurationError` where another number was started."""
        if size == 1:
            return cls()
        started = int(os.environ["WORLD_SIZE"])
        if started != size:
            raise ConfigurationError(f"world_size is {size}, but {started} processes were started (WORLD_SIZE)")
        rank = int(os.environ["RANK"])
        return cls(size, rank, int(os.environ.get("LOCAL_RANK", rank)))

    def join(self, backend: str) -> None:
        """Meet the others, if there are any, once a process; they talk by *backend*: gloo, nccl, hccl."""
        if self.size == 1:
            return
        import torch.distributed as dist

        if not dist.is_initialized():
            meeting = os.environ.get(RENDEZVOUS, "env://")
            dist.init_process_group(backend, init_method=meeting, rank=self.rank, world_size=self.size)

    def counterparts(self, layout: Layout) -> Any:
        """Return the group of the processes that have other requests, one of each group that attends together.

        Every process must ask at the same point.
        """
        import torch.distributed as dist

        found = None
        for place in range(layout.attn_tp_size):
            group = dist.new_group(range(place, self.size, layout.attn_tp_size))
            if place == self.rank % layout.attn_tp_size:
                found = group
        return found

    def groups(self, layout: Layout) -> dict[int, Any]:
        """Return the groups of neighbours that this process belongs to, by the sizes in *layout*.

        Every process must ask at the same point: a group is made by all.
        """
        import torch.distributed as dist

        found: dict[int, Any] = {self.size: dist.group.WORLD}
        for size in sorted(set(layout) - {1, self.size}):
            for first in range(0, self.size, size):
                group = dist.new_group(range(first, first + size))
                if first <= self.rank < first + size:
                    found[size] = group
        return found

    def agrees(self, flag: Any) -> bool:
        """Say whether *flag*, a tensor of one boolean, holds in every process."""
        import torch.distributed as dist

        held = flag.to(int)
        dist.all_reduce(held, op=dist.ReduceOp.MIN)
        return bool(held)

    def largest(self, numbers: Mapping[str, int], device: Any) -> dict[str, int]:
        """Return the largest of each of *numbers* among all processes; *device* is where they talk."""
        if self.size == 1:
            return dict(numbers)
        import torch
        import torch.distributed as dist

        found = torch.tensor(list(numbers.values()), dtype=torch.int64, device=device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return dict(zip(numbers, map(int, found.tolist()), strict=True))

    def as_in_the_first(self, values: Any) -> Any:
        """Return the tensor *values* of the first process, which the others may have computed a little differently."""
        if self.size > 1:
            import torch.distributed as dist

            dist.broadcast(values, src=0)
        return values

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()
