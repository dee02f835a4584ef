"""The statistics that every reader gives of many values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["spread"]

PERCENTILES = (50, 90, 99)


def spread(values: ArrayLike) -> dict[str, float]:
    """Return mean, extremes and percentiles, interpolated linearly as numpy and the original's summaries do."""
    found = np.asarray(values, dtype=np.float64)
    percentiles = np.percentile(found, PERCENTILES)
    told = {"mean": found.mean(), "max": found.max(), "min": found.min()}
    told |= {f"p{percent}": value for percent, value in zip(PERCENTILES, percentiles, strict=True)}
    return {name: float(value) for name, value in told.items()}
