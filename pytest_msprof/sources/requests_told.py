"""What the requests of a side were, as far as anybody says: two sides that differ in it measured something else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["lengths", "requests_of"]


def requests_of(tokens: Sequence[float]) -> dict[str, str]:
    """Return how many requests there were and how long, from the input *tokens* of each; NaN where nobody said."""
    if not len(tokens):
        return {}
    asked = np.asarray(tokens, dtype=np.float64)
    told = {"requests": str(len(asked))}
    if not np.isfinite(asked).all():
        return told
    told["input tokens"] = f"{asked.sum():.15g}"
    return told | lengths(asked.min(), float(np.median(asked)), asked.max())


def lengths(shortest: float, median: float, longest: float) -> dict[str, str]:
    """Return the lengths of requests, in input tokens, as every reader writes them."""
    return {"input lengths": f"{shortest:.15g} to {longest:.15g}, median {median:.15g}"}
