"""When each request of an open loop is due, and how many may be in flight on a ramp."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests.draws import uniforms
from pytest_msprof.requests.request import Stage
from pytest_msprof.requests.stream import Stream
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Stages

__all__ = ["arrivals", "stages_of"]

Times = NDArray[np.float64]
FIRST_GUESS = 64


def arrivals(workload: Workload, number: int | None, stream: Stream) -> Times | None:
    """Return when each of *number* requests is due, seconds from the first one; None in a closed loop.

    A duration leaves out what would be due later; without a number it alone ends the load.

    The gaps between requests are 1/rate long on average: all the same (constant), exponentially
    distributed (Poisson), or gamma distributed with the shape `burstiness` (as in vLLM's bench).
    They are not stretched to fill n/rate. While the rate changes, each gap takes as long as the
    rate needs to add up to what the gap would be at a rate of 1.
    """
    stages = workload.stages if workload.stages and workload.stages.request_rate else None
    if workload.arrival == "burst":
        if number is None:
            raise InvalidWorkload("a burst needs num_requests: it is over as soon as it begins")
        return np.zeros(number)
    rate = workload.request_rate
    if rate is None:
        return None
    times: Callable[[Times], Times] = _times_by(stages) if stages else lambda work: work / rate
    key = stream.key("arrivals")
    return _until(workload.duration or np.inf, number, lambda most: times(_work(workload, key, most)))


def stages_of(stages: Stages) -> list[Stage]:
    """Return when the concurrency changes: at each step, or at each whole number that a ramp comes by."""
    values = [int(value) for value in stages.concurrency]
    if not stages.ramp:
        return [Stage(place * stages.seconds, value) for place, value in enumerate(values)]
    found = [Stage(0.0, values[0])]
    for place, (low, high) in enumerate(pairwise(values)):
        way = abs(high - low)
        sign = 1 if high > low else -1
        found += [Stage((place + passed / way) * stages.seconds, low + sign * passed) for passed in range(1, way + 1)]
    return found


def _work(workload: Workload, key: str, number: int) -> Times:
    """Return when *number* requests are due at a rate of 1, the first one at 0."""
    if workload.arrival == "constant":
        return np.arange(number, dtype=np.float64)
    uniform = uniforms(key, number - 1)
    if workload.arrival == "gamma":
        from scipy.special import gammaincinv

        gaps = gammaincinv(workload.burstiness, uniform) / workload.burstiness
    else:
        gaps = -np.log(uniform)
    return np.concatenate(([0.0], np.cumsum(gaps)))


def _until(end: float, number: int | None, due: Callable[[int], Times]) -> Times:
    """Return the times before *end*, at most *number*; those of more requests begin with those of fewer."""
    most = number or FIRST_GUESS
    while (times := due(most))[-1] < end and number is None:
        most *= 2
    return times[times < end]


def _times_by(stages: Stages) -> Callable[[Times], Times]:
    """Return what turns work into time under changing rates; work beyond their end is never due."""
    begins = np.arange(len(stages.values) - stages.ramp) * stages.seconds
    rates = np.array(stages.values)
    before, after = (rates[:-1], rates[1:]) if stages.ramp else (rates, rates)
    done = np.concatenate(([0.0], np.cumsum((before + after) / 2 * stages.seconds)))

    def times(work: Times) -> Times:
        place = np.minimum(np.searchsorted(done, work, side="right") - 1, len(begins) - 1)
        left, low = work - done[place], before[place]
        slope = (after - before)[place] / stages.seconds
        # the root of low·t + slope·t²/2 = left that does not lose its digits where the slope is small
        passed = 2 * left / (low + np.sqrt(np.maximum(low**2 + 2 * slope * left, 0)))
        return np.where(work < done[-1], begins[place] + passed, np.inf)

    return times
