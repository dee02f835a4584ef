"""When each request of an open loop is due."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.ids import digest
from pytest_msprof.requests.draws import uniforms
from pytest_msprof.workload import Workload

__all__ = ["arrivals"]


def arrivals(workload: Workload, *, repeat: int = 0, step: int = 0) -> NDArray[np.float64] | None:
    """Return when each request is due, seconds from the first one; None in a closed loop.

    The gaps of a Poisson process at `request_rate` are exponentially distributed.
    """
    if workload.request_rate is None:
        return None
    key = digest(["arrivals", workload.seed, repeat, step])
    gaps = -np.log(uniforms(key, workload.num_requests - 1)) / workload.request_rate
    return np.concatenate(([0.0], np.cumsum(gaps)))
