"""A deployment of Ray Serve that answers one JSON object; its LLM application is `completions` and `chat`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msprof_plugins.load.dialects.dialect import Piece, words_of
from pytest_msprof.requests import Request

__all__ = ["RayServe"]

TEXTS = ("text", "generated_text", "output", "result", "answer")
"""Where deployments put what they say."""


class RayServe:
    """The deployment's route itself: the prompt and the options in, anything out.

    For a deployment that wants other fields give them as further fields of the body.
    """

    streams = False
    says_end = False

    def __init__(self, *, streams: bool = True) -> None:
        del streams  # what a deployment streams has no form of its own

    def path_for(self, _model: str) -> str:
        """Return the path below the route that the URL names."""
        return "/"

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*."""
        del model
        return {"prompt": request.prompt, **options}

    def read(self, event: Any) -> Piece:
        """Return what *event* says: its text where it has one under a usual name, else that something came."""
        if not isinstance(event, Mapping):
            return Piece(text=str(event))
        if event.get("error"):
            return Piece(error=words_of(event["error"]))
        said = next((event[name] for name in TEXTS if isinstance(event.get(name), str)), None)
        return Piece(text=str(event or "")) if said is None else Piece(text=said)
