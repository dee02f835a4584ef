"""What endpoints want to hear and how they answer: the OpenAI completions and chat endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ["DIALECTS", "Dialect", "Piece"]


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

    path: str

    def body(self, prompt: str) -> dict[str, Any]:
        """Return the part of the body that carries *prompt*."""

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says."""


class _OpenAI:
    """What both endpoints have in common: choices, a finish reason, a usage."""

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says."""
        if event.get("error"):
            return Piece(error=_message(event["error"]))
        usage, choices = event.get("usage") or {}, event.get("choices")
        choice: Mapping[str, Any] = choices[0] if choices else {}
        return Piece(
            text=self.content(choice),
            finish_reason=choice.get("finish_reason") or "",
            tokens=usage.get("completion_tokens"),
            prompt_tokens=usage.get("prompt_tokens"),
        )

    def content(self, choice: Mapping[str, Any]) -> str:
        """Return the new content of a choice."""
        raise NotImplementedError


class Completions(_OpenAI):
    """`/v1/completions`: a prompt, then text."""

    path = "/v1/completions"

    def body(self, prompt: str) -> dict[str, Any]:
        """Return the part of the body that carries *prompt*."""
        return {"prompt": prompt}

    def content(self, choice: Mapping[str, Any]) -> str:
        """Return the text."""
        return choice.get("text") or ""


class Chat(_OpenAI):
    """`/v1/chat/completions`: one message of the user, then deltas."""

    path = "/v1/chat/completions"

    def body(self, prompt: str) -> dict[str, Any]:
        """Return the part of the body that carries *prompt*."""
        return {"messages": [{"role": "user", "content": prompt}]}

    def content(self, choice: Mapping[str, Any]) -> str:
        """Return text, reasoning and the names and arguments of tool calls."""
        delta = choice.get("delta") or {}
        if len(delta) == 1 and "content" in delta:
            return delta["content"] or ""
        calls = [call.get("function") or {} for call in delta.get("tool_calls") or ()]
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        texts = (reasoning, delta.get("content"), *(call.get(key) for call in calls for key in ("name", "arguments")))
        return "".join(text for text in texts if text)


DIALECTS: Mapping[str, Dialect] = {"completions": Completions(), "chat": Chat()}


def _message(error: Any) -> str:
    """Return the words of an error object, whatever its shape."""
    return str(error.get("message") or error) if isinstance(error, Mapping) else str(error)
