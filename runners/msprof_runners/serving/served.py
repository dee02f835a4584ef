"""What a server must know of a runner, wherever its model is."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Served"]


class Served(NamedTuple):
    """Facts that go from the process of a model to that of its server."""

    tokenizer: Any
    stop_tokens: frozenset[int]
    """Tokens that end an answer."""
    pad_token: int
    longest: int
    """Most tokens of prompt and answer together."""
