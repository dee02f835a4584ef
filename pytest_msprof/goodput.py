"""Which requests kept every limit that their user gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.samples import Samples

__all__ = ["good_requests"]

Values = NDArray[np.float64]


def good_requests(samples: Samples, limits: Mapping[str, float]) -> NDArray[np.bool_]:
    """Say which requests succeeded and kept every limit (metric → largest value), shape ``(n,)``.

    `ttft` and `latency` count from when a request was due: one that waited for its turn was slow
    for its user. Of `itl` the longest gap counts. A metric that a request does not have, such as
    `tpot` of an answer in one chunk, is kept.
    """
    good = samples.ok.copy()
    for name, limit in limits.items():
        good &= ~(_PER_REQUEST[name](samples) > limit)
    return good


def _wait(samples: Samples) -> Values:
    return samples.start - samples.due


def _tpot(samples: Samples) -> Values:
    tokens = samples.output_tokens - samples.first_tokens
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tokens > 0, (samples.latency - samples.ttft) / tokens, np.nan)


def _longest_gap(samples: Samples) -> Values:
    longest = np.full(len(samples), np.nan)
    has_gaps = np.diff(samples.gap_offsets) > 0
    if has_gaps.any():
        longest[has_gaps] = np.maximum.reduceat(samples.gaps, samples.gap_offsets[:-1][has_gaps])
    return longest


_PER_REQUEST: dict[str, Callable[[Samples], Values]] = {
    "ttft": lambda samples: samples.ttft + _wait(samples),
    "tpot": _tpot,
    "itl": _longest_gap,
    "latency": lambda samples: samples.latency + _wait(samples),
    "closed": lambda samples: samples.closed + _wait(samples),
    "queue": _wait,
    "ttft_due": lambda samples: samples.ttft + _wait(samples),
    "latency_due": lambda samples: samples.latency + _wait(samples),
}
