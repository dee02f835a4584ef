"""For tools that replay a schedule: each request is due when it would be for the built-in generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.tools.order import Order
from msprof_plugins.tools.tool import ANY, Tool

__all__ = ["SCHEDULED", "check_schedule", "schedule"]

SCHEDULED: Mapping[str, tuple[Any, ...]] = {
    "arrival": ANY,
    "burstiness": ANY,
    "duration": ANY,
    "stages": ANY,
    "trace": ANY,
}
"""Fields of a workload that come down to times."""


def schedule(order: Order) -> NDArray[np.float64] | None:
    """Return when each request is due; None in a closed loop, and where a cap leaves the arrivals to the tool."""
    return order.plan.due if order.plan.concurrency is None else None


def check_schedule(tool: Tool, order: Order, *, own: Sequence[str] | None) -> None:
    """Refuse what times cannot say: an end by the clock in a closed loop, and a concurrency that changes.

    Under a cap only the arrivals that the tool makes itself, its *own*, are left; None replays under a cap as well.
    """
    workload, planned = order.job.workload, order.plan
    if planned.stages:
        tool.refuse("stages", workload.stages, None)
    if planned.due is None and workload.duration is not None:
        tool.refuse("duration", workload.duration, None)
    if planned.due is None or planned.concurrency is None or own is None:
        return
    if workload.arrival not in own or workload.trace or workload.stages or workload.duration:
        tool.refuse("concurrency", planned.concurrency, None)
