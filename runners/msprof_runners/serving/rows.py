"""Requests that are generated together: one row each, which may join and leave between two steps.

Prompts are padded on the left, so the rows of a batch end in the same column whatever their lengths.
To let requests in or out, all rows are moved so that they end in a common column again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import torch

from msprof_runners.cache import KeyValueCache, Masks
from msprof_runners.prompts import Batch
from msprof_runners.serving.sampling import Draw, Sampling, choose
from pytest_msprof.errors import ConfigurationError

if TYPE_CHECKING:
    from msprof_runners.model_runner import ModelRunner

__all__ = ["Request", "Rows"]

SPARE = 256
"""Columns that are allocated beyond the longest row, so that most steps allocate nothing."""

Owner = TypeVar("Owner")


class Request(NamedTuple):
    """What a row begins with."""

    prompt: tuple[int, ...]
    """Its token ids."""
    sampling: Sampling = Sampling()


class Rows(Generic[Owner]):
    """The batch that a server generates, of at most *most* requests with *longest* tokens each.

    In a graph mode the shapes never change: *most* rows, of which some are empty, with *longest*
    columns. In eager mode there are as many rows as requests.
    """

    def __init__(self, runner: ModelRunner, *, most: int, longest: int, static: bool) -> None:
        self._runner, self._static = runner, static
        self._most, self._longest = most, longest
        self._owners: list[Owner | None] = []
        self._lengths: list[int] = []
        """Tokens of each row that lie in the cache."""
        self._draws: list[Draw | None] = []
        self._state: dict[str, Any] = {}
        self.clear()

    def clear(self) -> None:
        """Let everything go, buffers included."""
        rows = self._most if self._static else 0
        self._owners, self._lengths, self._draws = [None] * rows, [0] * rows, [None] * rows
        self._cache = KeyValueCache(self._longest if self._static else 0, static=self._static)
        self._state = {}

    @property
    def owners(self) -> list[Owner]:
        """Whose requests are here."""
        return [owner for owner in self._owners if owner is not None]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def join(self, requests: Mapping[Owner, Request]) -> dict[Owner, int]:
        """Take in requests, and return the first token of each; raises `OutOfMemory` where they do not fit."""
        with self._runner.device.guarding_memory(f"a batch of {len(self.owners) + len(requests)} requests"):
            return self._joined(requests)

    def _joined(self, requests: Mapping[Owner, Request]) -> dict[Owner, int]:
        batch = Batch(tuple(request.prompt for request in requests.values()), (), self._runner.pad_token)
        draws = [Draw(request.sampling) for request in requests.values()]
        cache = KeyValueCache(batch.width, static=False)
        state = self._runner.begin(batch, cache)
        self._run(state, draws)
        first: list[int] = state["input_ids"][:, 0].tolist()
        last = self._last_tokens()
        places = self._places(len(requests))
        last += [0] * (len(self._owners) - len(last))
        for place, owner, row, token, draw in zip(places, requests, batch.rows, first, draws, strict=True):
            self._owners[place], self._lengths[place], self._draws[place] = owner, len(row), draw
            last[place] = token
        self._align(last, joined=cache, places=places)
        return dict(zip(requests, first, strict=True))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def step(self, *, warm_up: bool = False) -> dict[Owner, int]:
        """Make one token for each request and return them."""
        if self._cache.filled == self._cache.length:
            self._align(self._last_tokens())
        self._state["generate_ids"] = self._state["input_ids"]
        self._run(self._state, self._draws, warm_up=warm_up)
        self._lengths = [
            length + (owner is not None) for length, owner in zip(self._lengths, self._owners, strict=True)
        ]
        tokens = self._last_tokens()
        return {owner: token for owner, token in zip(self._owners, tokens, strict=True) if owner is not None}

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def leave(self, gone: set[Owner]) -> None:
        """Let the requests of *gone* go; in eager mode their rows go, too."""
        if not gone:
            return
        last = self._last_tokens()
        for place, owner in enumerate(self._owners):
            if owner in gone:
                self._owners[place], self._lengths[place], self._draws[place] = None, 0, None
        if self._static:
            return
        if not self.owners:
            self.clear()
            return
        kept = [place for place, owner in enumerate(self._owners) if owner is not None]
        self._owners = [self._owners[place] for place in kept]
        self._lengths = [self._lengths[place] for place in kept]
        self._draws = [self._draws[place] for place in kept]
        self._align([last[place] for place in kept], kept=kept)

    def _run(self, state: dict[str, Any], draws: Sequence[Draw | None], *, warm_up: bool = False) -> None:
        """Run a step whose tokens are chosen by *draws*; raises `ConfigurationError` where nobody asked them."""
        runner, asked = self._runner, list[int]()

        def chosen(logits: torch.Tensor) -> torch.Tensor:
            asked.append(len(logits))
            return runner.world.as_in_the_first(choose(logits, draws))

        state["choose"] = chosen
        inputs = runner.model_input_prepare(state)
        outputs = runner.model_inference(inputs, is_prefill=state["is_prefill"], warm_up=warm_up)
        runner.model_output_process(inputs, outputs, state)
        if not asked and any(draw and not draw.is_greedy for draw in draws):
            raise ConfigurationError(
                f"{type(runner).__name__}.model_output_process chooses tokens itself, so that only greedy requests "
                "can be served: let it ask self.choose_tokens(logits, input_dict)"
            )

    def _last_tokens(self) -> list[int]:
        if not self._state:
            return [self._runner.pad_token] * len(self._owners)
        found: list[int] = self._state["input_ids"][:, 0].tolist()
        return found

    def _places(self, count: int) -> list[int]:
        """Return where *count* further requests go; in eager mode rows are added for them."""
        if not self._static:
            before = len(self._owners)
            self._owners += [None] * count
            self._lengths += [0] * count
            self._draws += [None] * count
            return list(range(before, before + count))
        return [place for place, owner in enumerate(self._owners) if owner is None][:count]

    def _align(
        self,
        last: list[int],
        *,
        kept: Sequence[int] | None = None,
        joined: KeyValueCache | None = None,
        places: Sequence[int] = (),
    ) -> None:
        """Move all rows so that they end in the same column, as far left as the longest allows.

        *kept* are the old numbers of the rows that stay, all where nothing is said; the rows of
        *joined* come to *places*. *last* are the tokens that the next step reads.
        """
        end, old = max(self._lengths), self._cache
        new = old if self._static else KeyValueCache(min(end + SPARE, self._longest), static=False)
        width = min(old.filled, end)
        layers = joined or old
        for name in ("keys", "values"):
            moved = []
            for layer, like in enumerate(getattr(layers, name)):
                have = getattr(old, name)
                before = have[layer] if have else None
                buffer = before if self._static and before is not None else self._buffer(like, new.length)
                if before is not None and width:
                    rows = before if kept is None else before[list(kept)]
                    part = rows[:, :, old.filled - width : old.filled].clone()
                    buffer[: len(part), :, end - width : end] = part
                if joined is not None:
                    buffer[list(places), :, end - joined.filled : end] = like
                moved.append(buffer)
            setattr(new, name, moved)
        new.filled = end
        self._cache = new
        self._begin(last)

    def _buffer(self, like: torch.Tensor, length: int) -> torch.Tensor:
        _, heads, _, width = like.shape
        return like.new_zeros(len(self._owners), heads, length, width)

    def _begin(self, last: list[int]) -> None:
        """Make what the next step starts from."""
        runner, cache, end = self._runner, self._cache, self._cache.filled
        device = runner.model.device
        if self._static:
            cache.slots = torch.tensor([end], device=device)
        column = torch.tensor(last, device=device)[:, None]
        self._state = {
            "input_ids": column,
            "position_ids": torch.tensor(self._lengths, device=device)[:, None],
            "generate_ids": column,
            "past_key_values": cache,
            "masks": Masks([end - length for length in self._lengths], end, cache, runner.model),
            "input_lens": 1,
            "is_prefill": False,
            "finished": torch.zeros(len(last), dtype=torch.bool, device=device),
        }
