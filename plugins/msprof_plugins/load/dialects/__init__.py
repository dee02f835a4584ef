"""The endpoints that the load generator speaks to.

Add an entry to `DIALECTS` to teach it another one.
"""

from __future__ import annotations

from collections.abc import Callable

from msprof_plugins.load.dialects.dialect import Dialect, Piece
from msprof_plugins.load.dialects.embeddings import Embeddings
from msprof_plugins.load.dialects.openai import Chat, Completions
from msprof_plugins.load.dialects.ray_serve import RayServe
from msprof_plugins.load.dialects.text_generation import MindIE, TextGeneration
from msprof_plugins.load.dialects.triton import KServe, Triton
from pytest_msprof.errors import UnknownName

__all__ = ["DIALECTS", "Dialect", "Piece", "find_dialect"]

DIALECTS: dict[str, Callable[..., Dialect]] = {
    "chat": Chat,
    "completions": Completions,
    "embeddings": Embeddings,
    "kserve": KServe,
    "mindie": MindIE,
    "ray_serve": RayServe,
    "text_generation": TextGeneration,
    "triton": Triton,
}
"""Endpoint → what makes its dialect, called with the keyword `streams`."""


def find_dialect(endpoint: str, *, streams: bool = True) -> Dialect:
    """Return the dialect of *endpoint*.

    Raises `UnknownName` with the endpoints there are.
    """
    try:
        return DIALECTS[endpoint](streams=streams)
    except KeyError:
        raise UnknownName("endpoint", endpoint, DIALECTS) from None
