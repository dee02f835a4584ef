"""The endpoints that the load generator speaks to.

Add an entry to `DIALECTS` to teach it another one.
"""

from __future__ import annotations

from collections.abc import Callable

from msprof_plugins.load.dialects.dialect import Dialect, Piece
from msprof_plugins.load.dialects.openai import Chat, Completions
from pytest_msprof.errors import UnknownName

__all__ = ["DIALECTS", "Dialect", "Piece", "find_dialect"]

DIALECTS: dict[str, Callable[..., Dialect]] = {"completions": Completions, "chat": Chat}
"""Endpoint → what makes its dialect, called with the keyword `streams`."""


def find_dialect(endpoint: str, *, streams: bool = True) -> Dialect:
    """Return the dialect of *endpoint*.

    Raises `UnknownName` with the endpoints there are.
    """
    try:
        return DIALECTS[endpoint](streams=streams)
    except KeyError:
        raise UnknownName("endpoint", endpoint, DIALECTS) from None
