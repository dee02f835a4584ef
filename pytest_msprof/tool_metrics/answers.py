"""The successful requests of a run, as the definitions of other tools ask for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.samples import Samples

__all__ = ["Answers", "Values", "of_samples", "percentile_names"]

Values = NDArray[np.float64]


class Answers(NamedTuple):
    """Columns of the answers, shape ``(n,)``; times in seconds from the first byte of a request."""

    start: Values
    """Seconds from the start of the run."""
    connect: Values
    """Time spent opening the connection before `start`."""
    ttft: Values
    latency: Values
    """Until the last event with content."""
    closed: Values
    """Until the last byte, or the last event with content where nobody kept that."""
    input_tokens: Values
    """NaN where nobody counted."""
    output_tokens: Values
    gaps: Values
    """Gaps between events with content, one answer after the other."""
    gap_counts: NDArray[np.int64]
    failed: int
    """Requests that are not among the answers."""

    @property
    def decode(self) -> Values:
        """Seconds from the first event with content to the last."""
        return self.latency - self.ttft

    def after_first(self) -> Values:
        """Return the mean time of a token after the first, as if the first event had one; NaN for one-token answers."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.output_tokens > 1, self.decode / (self.output_tokens - 1), np.nan)


def of_samples(samples: Samples) -> Answers:
    """Return the successful requests of *samples*."""
    ok = samples.ok
    counts = np.diff(samples.gap_offsets)
    return Answers(
        start=samples.start[ok],
        connect=samples.connect[ok],
        ttft=samples.ttft[ok],
        latency=samples.latency[ok],
        closed=np.where(np.isnan(samples.closed), samples.latency, samples.closed)[ok],
        input_tokens=_known(samples.input_tokens[ok]),
        output_tokens=_known(samples.output_tokens[ok]),
        gaps=samples.gaps[np.repeat(ok, counts)].astype(np.float64),
        gap_counts=counts[ok],
        failed=int((~ok).sum()),
    )


def _known(counts: NDArray[np.int64]) -> Values:
    """Return token counts, NaN where nobody counted."""
    return np.where(counts < 0, np.nan, counts)


def percentile_names(*percentiles: float) -> dict[str, float]:
    """Return the usual names: `p50` for 50."""
    return {f"p{q:g}": q for q in percentiles}
