"""What a load generator must know of an endpoint: where it is, what it wants to hear, how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from pytest_msprof.requests import Request

__all__ = ["Dialect", "Piece", "words_of"]


class Piece(NamedTuple):
    """What one event says."""

    text: str = ""
    """New content: text, reasoning or a tool call; empty for role-only, empty and usage events."""
    finish_reason: str = ""
    tokens: int | None = None
    """Output tokens so far, where the event has a usage."""
    prompt_tokens: int | None = None
    error: str = ""


class Dialect(Protocol):
    """One endpoint: makes the body of a request, reads the events of an answer."""

    @property
    def streams(self) -> bool:
        """Whether the answer comes in server-sent events; else its whole body is the only event."""

    @property
    def says_end(self) -> bool:
        """Whether a finish reason or `[DONE]` ends each whole answer, so that one without was cut."""

    def path_for(self, model: str) -> str:
        """Return the path of the endpoint."""

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request* to *model*.

        *options* are the sampling parameters in OpenAI's words: what forces the answer's length, and
        what the workload adds.
        """

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says."""


def words_of(error: Any) -> str:
    """Return the words of an error object, whatever its shape."""
    return str(error.get("message") or error) if isinstance(error, Mapping) else str(error)
