"""How the tokens of a request are chosen: the likeliest, or drawn from what the model thinks of each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = ["Draw", "Sampling", "choose"]


class Sampling(NamedTuple):
    """What a request says of it; as it stands here it is greedy."""

    temperature: float = 0.0
    """What logits are divided by; 0 takes the likeliest."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that have this probability together."""
    top_k: int = 0
    """Draw among so many; 0 is all."""
    min_p: float = 0.0
    """Draw among those that have at least this share of the likeliest one's probability."""
    seed: int = 0
    min_tokens: int = 0
    """Before so many tokens none of *ends* is taken."""
    ends: tuple[int, ...] = ()


class Draw:
    """The tokens of one request: what it says of them, and random numbers of its own.

    Whoever else is in the batch takes none of these, so a seed always gives the same ones.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._numbers = random.Random(sampling.seed)  # noqa: S311 - tokens are no secret
        self._made = 0

    @property
    def is_greedy(self) -> bool:
        """Whether every token is the likeliest one."""
        return self.sampling.temperature == 0 and not self.sampling.min_tokens

    def take(self, logits: torch.Tensor) -> torch.Tensor | None:
        """Return the next token by *logits*, shape ``(words,)``; None where it is the likeliest of all."""
        wanted = self.sampling
        forbidden = wanted.ends if self._made < wanted.min_tokens else ()
        self._made += 1
        if forbidden:
            logits = logits.index_fill(-1, torch.tensor(forbidden, device=logits.device), -torch.inf)
        if wanted.temperature == 0:
            return logits.argmax() if forbidden else None
        return _drawn(logits.float(), wanted, self._numbers.random())


def choose(logits: torch.Tensor, draws: Sequence[Draw | None]) -> torch.Tensor:
    """Return a token for each row of *logits*, shape ``(rows, words)``; a row without a draw has nobody in it."""
    chosen = logits.argmax(dim=-1)
    for row, draw in enumerate(draws):
        if draw is not None and (token := draw.take(logits[row])) is not None:
            chosen[row] = token
    return chosen


def _drawn(logits: torch.Tensor, wanted: Sampling, number: float) -> torch.Tensor:
    """Return the token at which the probabilities, side by side, pass *number*, which is below 1.

    Order and limits are those of Hugging Face and vLLM: temperature, then top-k, top-p, min-p.
    """
    scaled, words = (logits - logits.max()) / wanted.temperature, None
    if 0 < wanted.top_k < len(scaled):
        scaled, words = scaled.topk(wanted.top_k)
    elif wanted.top_p < 1:
        scaled, words = scaled.sort(descending=True)
    likely = scaled.softmax(dim=-1)
    if wanted.top_p < 1:
        likely = likely.masked_fill(likely.cumsum(-1) - likely >= wanted.top_p, 0)
    if wanted.min_p:
        likely = likely.masked_fill(likely < wanted.min_p * likely.max(), 0)
    passed = likely.cumsum(-1)
    place = (passed <= number * passed[-1]).sum().clamp(max=len(passed) - 1)
    return place if words is None else words[place]
