"""For tools that replay a schedule: each request is due when it would be for the built-in generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.tool_results import ToolResult
from msprof_plugins.tools.order import Order
from msprof_plugins.tools.tool import ANY, Tool
from pytest_msprof.metrics import measure

__all__ = ["SCHEDULED", "check_schedule", "schedule", "with_due"]

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


def with_due(result: ToolResult, due: NDArray[np.float64] | None) -> ToolResult:
    """Add when each request was due, for tools that do not keep it: requests in the order of their start.

    The clock of the tool begins somewhere else, so the least late request counts as in time.
    """
    measured = result.measurement
    if due is None or measured.samples is None or len(measured.samples) != len(due):
        return result
    late = (measured.samples.start - due)[measured.samples.ok]
    samples = replace(measured.samples, due=due + (late.min() if late.size else 0.0))
    return replace(result, measurement=measure(samples, measured.duration, notes=measured.notes))
