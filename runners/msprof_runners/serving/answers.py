"""What a client reads: text as its tokens come, and the JSON objects of OpenAI's API around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msprof_runners.serving.stops import UpTo

__all__ = ["Answer", "Speech", "Text"]

UNFINISHED = "\ufffd"
"""What a tokenizer writes for bytes that are no whole character."""


class Text:
    """Turns tokens into text one by one; what is not yet a whole character waits for its next token."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._shown = ""
        """The text of the tokens since the last piece, as far as it was given out."""

    def add(self, token: int) -> str:
        """Return what *token* adds, empty where its character is not whole yet."""
        self._tokens.append(token)
        text = self._decoded()
        if text.endswith(UNFINISHED):
            return ""
        new = text[len(self._shown) :]
        # One token stays as context: a tokenizer may write the same one differently at the beginning of a text.
        self._tokens = self._tokens[-1:]
        self._shown = self._decoded()
        return new

    def rest(self) -> str:
        """Return what is left at the end, where it is no whole character."""
        return self._decoded()[len(self._shown) :]

    def _decoded(self) -> str:
        found: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        return found


class Speech:
    """What is said of an answer: its text token by token, which ends before one of *stops*.

    A stop within the first *min_tokens* tokens is text like any.
    """

    def __init__(self, tokenizer: Any, *, stops: Sequence[str] = (), min_tokens: int = 0) -> None:
        self._text, self._up_to, self._min_tokens = Text(tokenizer), UpTo(stops), min_tokens
        self.tokens = 0
        """Tokens so far."""

    def add(self, token: int, finish_reason: str | None) -> tuple[str, str | None]:
        """Return what *token* adds, and the reason to end, if this is the end."""
        self.tokens += 1
        piece = self._text.add(token) + (self._text.rest() if finish_reason else "")
        if self.tokens > self._min_tokens:
            piece = self._up_to.add(piece)
        if self._up_to.is_over:
            return piece, "stop"
        return piece + (self._up_to.rest() if finish_reason else ""), finish_reason


class Answer:
    """The objects of one answer, whole or in pieces."""

    def __init__(self, number: str, *, model: str, created: int, is_chat: bool, prompt_tokens: int) -> None:
        prefix = "chatcmpl" if is_chat else "cmpl"
        self._facts = {"id": f"{prefix}-{number}", "created": created, "model": model}
        self._is_chat, self._prompt_tokens = is_chat, prompt_tokens
        self._has_begun = False

    def whole(self, text: str, *, tokens: int, finish_reason: str | None) -> dict[str, Any]:
        """Return the answer in one piece."""
        said = {"message": {"role": "assistant", "content": text}} if self._is_chat else {"text": text}
        kind = "chat.completion" if self._is_chat else "text_completion"
        return {**self._facts, "object": kind, "choices": [_choice(said, finish_reason)], "usage": self.usage(tokens)}

    def piece(self, text: str, finish_reason: str | None, *, tokens: int | None = None) -> bytes:
        """Return the event with *text*, and with the counts where *tokens* says how many were made."""
        said: dict[str, Any] = {"text": text}
        if self._is_chat:
            role = {} if self._has_begun else {"role": "assistant"}
            said = {"delta": {**role, "content": text}}
        self._has_begun = True
        counts = {} if tokens is None else {"usage": self.usage(tokens)}
        return event({**self._facts, "object": self._piece_kind, "choices": [_choice(said, finish_reason)], **counts})

    def counted(self, tokens: int) -> bytes:
        """Return the event that counts the tokens."""
        return event({**self._facts, "object": self._piece_kind, "choices": [], "usage": self.usage(tokens)})

    def usage(self, tokens: int) -> dict[str, int]:
        """Return how many tokens were read, and how many made."""
        prompt = self._prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}

    @property
    def _piece_kind(self) -> str:
        return "chat.completion.chunk" if self._is_chat else "text_completion"


def _choice(said: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}


def event(content: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return f"data: {json.dumps(content, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()
