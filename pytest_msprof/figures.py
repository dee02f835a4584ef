"""What follows from the requests of a run together with what was asked for."""

from __future__ import annotations

from dataclasses import replace

from pytest_msprof.goodput import good_requests
from pytest_msprof.results import Measurement
from pytest_msprof.series import course
from pytest_msprof.window import steady_state
from pytest_msprof.workload import Workload

__all__ = ["with_figures"]


def with_figures(measured: Measurement, workload: Workload) -> Measurement:
    """Add goodput, the steady state and the course, where the load generator kept its requests."""
    samples = measured.samples
    if samples is None or not measured.completed or measured.duration <= 0:
        return measured
    metrics = dict(measured.metrics)
    if workload.goodput:
        metrics["goodput"] = int(good_requests(samples, workload.goodput).sum()) / measured.duration
    return replace(
        measured,
        metrics=metrics,
        steady=steady_state(samples, workload.goodput),
        series={**course(samples, measured.duration), **measured.series},
    )
