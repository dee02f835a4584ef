"""Random numbers that depend on a key and nothing else, on any machine and with any library."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import count

import numpy as np
from numpy.typing import NDArray

__all__ = ["integers", "stride", "uniforms", "uniforms_between"]

BLOCK = 1024


def integers(key: str, number: int) -> NDArray[np.uint32]:
    """Return *number* random 32-bit integers."""
    return np.frombuffer(hashlib.shake_256(key.encode()).digest(4 * number), dtype="<u4")


def uniforms(key: str, number: int) -> NDArray[np.float64]:
    """Return *number* random values between 0 and 1, neither of which is among them."""
    values: NDArray[np.float64] = (integers(key, number) + 0.5) / 2**32
    return values


def uniforms_between(key: str, begin: int, end: int) -> NDArray[np.float64]:
    """Return the values from *begin* to *end* of a series that need not be drawn from its first one on."""
    blocks = range(begin // BLOCK, (end - 1) // BLOCK + 1)
    drawn = [uniforms(f"{key}/{block}", min(BLOCK, end - block * BLOCK)) for block in blocks]
    return np.concatenate(drawn or [np.empty(0)])[begin - blocks.start * BLOCK :]


@lru_cache(maxsize=8)
def stride(size: int) -> int:
    """Return a number near the golden section of *size* that shares no divisor with it.

    Steps of this width visit every number below *size* once before they come back.
    """
    return next(step for step in count(max(1, int(size * 0.618))) if np.gcd(step, size) == 1)
