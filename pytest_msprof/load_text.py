"""What `pytest-msprof load` found in one load, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_msprof.display import duration, metric_value, seconds, span
from pytest_msprof.distributions import Distribution
from pytest_msprof.metric_table import METRICS
from pytest_msprof.objectives import Objective
from pytest_msprof.results import Run

__all__ = ["lines"]

SHOWN = ("mean", "p50", "p90", "p95", "p99", "p99.9")
NAME, WIDTH = 19, 10


def lines(run: Run, objectives: Sequence[Objective] = ()) -> Iterator[str]:
    """Yield the figures of the whole run with their intervals, those of its steady part, and what must be known."""
    yield f"{run.completed} of {run.completed + run.failed} requests in {duration(run.duration)}" + (
        "" if run.complete else ", incomplete"
    )
    yield from _table("whole run", run.metrics, run.distributions, run.intervals)
    if run.steady:
        steady = run.steady
        yield ""
        yield (
            f"{steady.running} running from {seconds(steady.start)} to {seconds(steady.end)}, "
            f"{steady.requests} requests wholly in between"
        )
        yield from _table("steady state", steady.metrics, steady.distributions, {})
    yield ""
    for wanted in objectives:
        found = wanted.judge(run)
        yield f"{'met' if found.met else 'missed'}: {found.text}"
    if run.client_limited:
        yield f"no verdict: the client was the bottleneck: {run.client_limited}"
    for note in run.notes:
        yield f"note: {note}"


def _table(
    title: str,
    metrics: Mapping[str, float],
    distributions: Mapping[str, Distribution],
    intervals: Mapping[str, tuple[float, float]],
) -> Iterator[str]:
    """Yield a row a distribution, with the 95 % intervals below it, and a line a single figure."""
    shown = [name for name in SHOWN if any(name in found.root for found in distributions.values())]
    if shown:
        yield f"{title:{NAME}}" + "".join(f"{name:>{WIDTH}}" for name in shown)
    for name in METRICS:
        if name in distributions:
            found = distributions[name].root
            cells = (metric_value(f"{name}.{q}", found[q]) if q in found else "" for q in shown)
            yield _row(name, cells)
            bounds = {q: intervals[f"{name}.{q}"] for q in shown if f"{name}.{q}" in intervals}
            if bounds:
                yield _row("  95 % interval", (span(*bounds[q], like=found[q]) if q in bounds else "" for q in shown))
    for name in METRICS:
        if name in metrics:
            yield f"{name:{NAME}}{metric_value(name, metrics[name])}"


def _row(name: str, cells: Iterator[str]) -> str:
    return (f"{name:{NAME}}" + "".join(f" {cell:>{WIDTH - 1}}" for cell in cells)).rstrip()
