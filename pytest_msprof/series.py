"""The course of a run: how much ran, how fast tokens came and how long first ones took, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.samples import Samples

__all__ = ["Series", "course", "ends", "running_at", "token_counts"]

STEP = 1.0
BATCH = 10_000
"""Requests whose tokens are placed in time at once."""

Values = NDArray[np.float64]


class Series(NamedTuple):
    """One quantity over the time of a run."""

    times: Values
    """Seconds from the start of the run, shape ``(n,)``; of a bin its beginning."""
    values: Values
    """In the unit of the quantity, shape ``(n,)``; NaN where nothing was seen."""


def course(samples: Samples, duration: float, *, step: float = STEP) -> dict[str, Series]:
    """Return what happened in each bin of *step* seconds; rates are over the part of the last bin that was measured.

    `running` is the mean number of requests in flight, `output_throughput` counts tokens when they
    arrive and those of requests that fail later too, `request_throughput` and `failures` count
    requests when they end, `ttft.p50` is the median of the first tokens that arrive.
    """
    if not len(samples) or duration <= 0:
        return {}
    begin = float(samples.start.min())
    edges = np.append(np.arange(0, duration, step), duration)
    ended, ok = ends(samples) - begin, samples.ok
    widths = np.diff(edges)
    found = {
        "running": np.diff(_in_flight(samples.start - begin, ended, edges)) / widths,
        "output_throughput": token_counts(samples, edges + begin) / widths,
        "request_throughput": _counted(ended[ok], edges) / widths,
        "failures": _counted(ended[~ok], edges),
        "ttft.p50": _medians((samples.start + samples.ttft)[ok] - begin, samples.ttft[ok], edges),
    }
    return {name: Series(edges[:-1], values) for name, values in found.items()}


def ends(samples: Samples) -> Values:
    """Return when each request ended, on the clock of `start`: its last byte, or the last that is known of it."""
    lasted = np.zeros(len(samples))
    for known in (samples.ttft, samples.latency, samples.closed):
        lasted = np.where(np.isfinite(known), known, lasted)
    return samples.start + lasted


def running_at(samples: Samples) -> tuple[Values, NDArray[np.int64]]:
    """Return the moments at which a request began or ended, in order, and how many ran from each one on."""
    moments = np.concatenate((samples.start, ends(samples)))
    steps = np.concatenate((np.ones(len(samples), np.int64), -np.ones(len(samples), np.int64)))
    order = np.lexsort((-steps, moments))
    return moments[order], np.cumsum(steps[order])


def token_counts(samples: Samples, edges: Values) -> Values:
    """Count the output tokens that arrived between neighbouring *edges*, shape ``(n + 1,)``.

    An event after the first has an equal share of the tokens that came after the first.
    """
    total = np.zeros(edges.size - 1)
    for moments, tokens in _events(samples):
        total += _counted(moments, edges, tokens)
    return total


def _events(samples: Samples) -> Iterator[tuple[Values, Values]]:
    """Yield the moments of events with content and the tokens of each, some requests at a time."""
    for low in range(0, len(samples), BATCH):
        part = slice(low, min(low + BATCH, len(samples)))
        offsets = samples.gap_offsets[part.start : part.stop + 1]
        gaps, lengths = samples.gaps[offsets[0] : offsets[-1]], np.diff(offsets)
        first = (samples.start + samples.ttft)[part]
        since_first = np.cumsum(gaps, dtype=np.float64)
        before = np.concatenate(([0.0], since_first))[offsets[:-1] - offsets[0]]
        later = np.repeat(first - before, lengths) + since_first
        counted = np.maximum(samples.output_tokens[part], 0)
        with_first = np.where(np.isfinite(first), np.minimum(samples.first_tokens[part], counted), 0)
        share = np.divide(counted - with_first, lengths, out=np.zeros(lengths.size), where=lengths > 0)
        arrived = np.isfinite(first)
        yield first[arrived], with_first[arrived].astype(np.float64)
        yield later, np.repeat(share, lengths)


def _in_flight(starts: Values, ended: Values, moments: Values) -> Values:
    """Return the seconds that all requests together had been in flight at each of *moments*."""
    return _elapsed(starts, moments) - _elapsed(ended, moments)


def _elapsed(since: Values, moments: Values) -> Values:
    """Return, for each moment, the sum of the times since those of *since* that lie before it."""
    ordered = np.sort(since)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    before = np.searchsorted(ordered, moments)
    found: Values = before * moments - sums[before]
    return found


def _counted(moments: Values, edges: Values, weights: Values | None = None) -> Values:
    """Count, or add up the *weights* of, the *moments* of each bin; the last edge belongs to the last bin."""
    places = np.searchsorted(edges, moments, side="right") - 1
    places[moments == edges[-1]] = edges.size - 2
    inside = (places >= 0) & (places < edges.size - 1)
    counted = np.bincount(places[inside], None if weights is None else weights[inside], minlength=edges.size - 1)
    return counted.astype(np.float64)


def _medians(moments: Values, values: Values, edges: Values) -> Values:
    """Return the median of the *values* of each bin, NaN for an empty one."""
    places = np.digitize(moments, edges) - 1
    found = np.full(edges.size - 1, np.nan)
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(edges.size))
    for place, (low, high) in enumerate(pairwise(bounds)):
        if low < high:
            found[place] = np.median(values[order[low:high]])
    return found
