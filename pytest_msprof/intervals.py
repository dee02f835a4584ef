"""How sure the percentiles of one run are: intervals between two order statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["effective_size", "percentile_ranks", "percentiles"]

LARGE = 10_000_000
"""Values above which a copy is made in single precision: a relative error of 6e-8 for half the memory."""
BATCH = 10_000
"""Groups that are counted at a time, since counting copies."""

Interval = tuple[float, float]


def percentiles(
    values: NDArray[np.floating], wanted: Sequence[float], *, groups: NDArray[np.int64] | None = None
) -> tuple[dict[float, float], dict[float, Interval]]:
    """Return the percentiles *wanted* of *values*, shape ``(n,)``, and the 95 % intervals of those that have one.

    The percentiles are interpolated linearly. The intervals assume nothing about the distribution
    (Conover, Practical Nonparametric Statistics, 1999, section 3.2). Values that belong together,
    *groups* of them in order, shape ``(m,)``, count as fewer (`effective_size`).
    """
    kept = values.astype(np.float32) if values.size > LARGE else values.copy()
    positions = {q: q / 100 * (values.size - 1) for q in wanted}
    _order(kept, *((int(position), math.ceil(position)) for position in positions.values()))
    found = {q: _interpolated(kept, position) for q, position in positions.items()}
    worth = {q: float(values.size) if groups is None else effective_size(values <= found[q], groups) for q in wanted}
    ranks = {q: between for q in wanted if (between := percentile_ranks(values.size, q, effective=worth[q]))}
    _order(kept, *ranks.values())
    return found, {q: (float(kept[low]), float(kept[high])) for q, (low, high) in ranks.items()}


def percentile_ranks(size: int, q: float, *, effective: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Return the places, counted from 0, of the ordered values that enclose the *q*-th percentile.

    None where one of the two bounds lies beyond the sample: p99 has an upper bound from 368 values
    on. *effective* is the number of independent values that *size* values are worth.
    """
    from scipy.special import bdtrik

    tail, worth = (1 - confidence) / 2, int(effective)
    if worth < 1:
        return None
    below, above = (math.ceil(bdtrik(share, worth, q / 100)) for share in (tail, 1 - tail))
    low, high = below - 1, above
    if low < 0 or high >= worth:
        return None
    scale = size / worth
    return int(low * scale), min(math.ceil(high * scale), size - 1)


def effective_size(below: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Return how many independent values those are worth of which *below* says on which side of a quantile they lie.

    *groups* says how many in a row belong together. The design effect of a ratio over groups (Kish,
    Survey Sampling, 1965, chapter 5), as Woodruff used it for quantiles (Journal of the American
    Statistical Association 47, 1952).
    """
    groups = groups[groups > 0]
    hits = np.concatenate([_hits(below[low:high], part) for low, high, part in _batches(groups)])
    share = hits.sum() / below.size
    spread = float(((hits - share * groups) ** 2).sum()) * groups.size / max(groups.size - 1, 1)
    alone = share * (1 - share) * below.size
    return below.size * min(1.0, alone / spread) if spread > 0 else float(groups.size)


def _batches(groups: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield groups, some at a time, with the place of their first value and the one behind their last."""
    place = 0
    for first in range(0, groups.size, BATCH):
        part = groups[first : first + BATCH]
        yield place, (place := place + int(part.sum())), part


def _hits(below: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count in each group."""
    starts = np.concatenate(([0], np.cumsum(groups)[:-1]))
    found: NDArray[np.int64] = np.add.reduceat(below, starts, dtype=np.int64)
    return found


def _order(values: NDArray[np.floating[Any]], *places: tuple[int, int]) -> None:
    """Move the values that belong at *places* there."""
    if places:
        values.partition(sorted({place for pair in places for place in pair}))


def _interpolated(ordered: NDArray[np.floating[Any]], position: float) -> float:
    low, high = float(ordered[int(position)]), float(ordered[math.ceil(position)])
    return low + (high - low) * (position - int(position))
