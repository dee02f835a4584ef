"""What one load sends: each request, and when, before an endpoint's dialect has seen it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING", "Plan", "Request", "Stage"]

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what is said to whom, and how much is wanted back."""

    prompt: str = ""
    messages: tuple[Mapping[str, Any], ...] | None = None
    """Chat messages as they were given; None where the prompt is one message of the user."""
    input_tokens: int = -1
    """Tokens of the prompt, −1 where nobody counted."""
    output_tokens: int = 16
    """Tokens wanted in the answer."""
    model: str = ""
    """Name of the model, empty for the target's."""
    session: int = -1
    """Requests of one session go one after the other; −1 is a session of its own."""
    turn: int = 0
    think_time: float = 0.0
    """Seconds between the answer to the turn before and this request."""
    earliest: float = 0.0
    """Seconds from the start of the load before which a later turn does not go, however soon it may."""
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Further fields of the body; they win over the workload's."""


class Stage(NamedTuple):
    """From *start*, seconds after the first request, so many requests may be in flight."""

    start: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one load sends."""

    warm_up: Sequence[Request]
    """Sent before the clock runs, and not counted."""
    requests: Sequence[Request]
    due: NDArray[np.float64] | None
    """When each request is due, seconds from the start of the load; None in a closed loop.

    NaN for a later turn of a talk: it is due when the turn before was answered and thought about.
    """
    concurrency: int | None
    """Most requests in flight, None without a limit."""
    stages: Sequence[Stage] = ()
    """Where the limit changes while the load runs; empty where it stays."""
