"""OpenAI's embeddings endpoint: a text, and one vector for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msprof_plugins.load.dialects.dialect import Piece, words_of
from pytest_msprof.requests import Request

__all__ = ["Embeddings"]


class Embeddings:
    """`/v1/embeddings`: the answer has no tokens, and its latency is all there is to measure."""

    streams = False
    says_end = False

    def __init__(self, *, streams: bool = True) -> None:
        del streams  # there is nothing to stream

    def path_for(self, _model: str) -> str:
        """Return the path of the endpoint."""
        return "/v1/embeddings"

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*; what steers the sampling of tokens has no place in it."""
        del options
        return {"model": model, "input": request.prompt}

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says."""
        if event.get("error"):
            return Piece(error=words_of(event["error"]))
        vectors, usage = event.get("data") or [], event.get("usage") or {}
        found = f"{len(vectors)} embeddings" if vectors else ""
        return Piece(text=found, tokens=0, prompt_tokens=usage.get("prompt_tokens"))
