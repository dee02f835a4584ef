"""OpenAI's completions and chat endpoints, as most engines have them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from msprof_plugins.load.dialects.dialect import Piece, words_of
from pytest_msprof.requests import Request

__all__ = ["Chat", "Completions"]


class _OpenAI(ABC):
    """What both endpoints have in common: choices, a finish reason, a usage."""

    path = ""
    says_end = True

    def __init__(self, *, streams: bool = True) -> None:
        self.streams = streams

    def path_for(self, _model: str) -> str:
        """Return the path of the endpoint."""
        return self.path

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*; the usage is asked for at the end of a stream."""
        streaming = {"stream": True, "stream_options": {"include_usage": True}} if self.streams else {"stream": False}
        return {"model": model, **streaming, **options, **self.asked(request)}

    @abstractmethod
    def asked(self, request: Request) -> dict[str, Any]:
        """Return the part of the body that carries what is said."""

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says."""
        if event.get("error"):
            return Piece(error=words_of(event["error"]))
        usage, choices = event.get("usage") or {}, event.get("choices")
        choice: Mapping[str, Any] = choices[0] if choices else {}
        return Piece(
            text=self.content(choice),
            finish_reason=choice.get("finish_reason") or "",
            tokens=usage.get("completion_tokens"),
            prompt_tokens=usage.get("prompt_tokens"),
        )

    @abstractmethod
    def content(self, choice: Mapping[str, Any]) -> str:
        """Return the new content of a choice."""


class Completions(_OpenAI):
    """`/v1/completions`: a prompt, then text."""

    path = "/v1/completions"

    def asked(self, request: Request) -> dict[str, Any]:
        """Return the prompt."""
        return {"prompt": request.prompt}

    def content(self, choice: Mapping[str, Any]) -> str:
        """Return the text."""
        return choice.get("text") or ""


class Chat(_OpenAI):
    """`/v1/chat/completions`: messages, then deltas, or one message where nothing streams."""

    path = "/v1/chat/completions"

    def asked(self, request: Request) -> dict[str, Any]:
        """Return the messages as they were given, else the prompt as the user's only one."""
        messages = request.messages or ({"role": "user", "content": request.prompt},)
        return {"messages": list(messages)}

    def content(self, choice: Mapping[str, Any]) -> str:
        """Return text, reasoning and the names and arguments of tool calls."""
        delta = choice.get("delta") or choice.get("message") or {}
        if len(delta) == 1 and "content" in delta:
            return delta["content"] or ""
        calls = [call.get("function") or {} for call in delta.get("tool_calls") or ()]
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        texts = (reasoning, delta.get("content"), *(call.get(key) for call in calls for key in ("name", "arguments")))
        return "".join(text for text in texts if text)
