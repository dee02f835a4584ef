"""The endpoints of text-generation-inference, and MindIE's own, which speaks the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msprof_plugins.load.dialects.dialect import Piece, words_of
from pytest_msprof.requests import Request

__all__ = ["MindIE", "TextGeneration"]

NAMES = {"max_tokens": "max_new_tokens"}
"""OpenAI's words → theirs."""


class TextGeneration:
    """`/generate_stream`, or `/generate` where nothing streams: inputs and parameters, then tokens.

    It knows neither a temperature of 0 nor an answer that goes on where the model would end.
    """

    says_end = True
    unknown: tuple[str, ...] = ("ignore_eos", "min_tokens")
    """Options that the endpoint does not have."""

    def __init__(self, *, streams: bool = True) -> None:
        self.streams = streams

    def path_for(self, _model: str) -> str:
        """Return the path of the endpoint."""
        return "/generate_stream" if self.streams else "/generate"

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*; greedy where the temperature is 0."""
        del model
        told = {NAMES.get(name, name): value for name, value in options.items() if name not in self.unknown}
        if told.get("temperature") == 0:
            told |= {"temperature": None, "do_sample": False}
        told = {name: value for name, value in told.items() if value is not None}
        return {"inputs": request.prompt, "parameters": {"details": True, **told}}

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says; the last one repeats the whole text beside its token."""
        if event.get("error"):
            return Piece(error=words_of(event["error"]))
        token, details = event.get("token"), event.get("details") or {}
        return Piece(
            text=(token.get("text") if token is not None else event.get("generated_text")) or "",
            finish_reason=details.get("finish_reason") or "",
            tokens=details.get("generated_tokens"),
            prompt_tokens=details.get("input_length") or details.get("prompt_tokens"),
        )


class MindIE(TextGeneration):
    """`/infer`: MindIE's own endpoint; its OpenAI endpoints are `completions` and `chat`."""

    unknown = ("min_tokens",)

    def path_for(self, _model: str) -> str:
        """Return the path of the endpoint."""
        return "/infer"

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*, which says itself whether the answer streams."""
        return {**super().body(request, model=model, options=options), "stream": self.streams}
