"""A sweep on the terminal: a row a load, and below the table what a reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_msprof.display import ABSENT, load_of, metric_value, rate
from pytest_msprof.errors import MetricMissing
from pytest_msprof.results import Run

__all__ = ["heading", "remarks", "row"]

LOAD, WIDE, NARROW = 17, 10, 9
TIMES = ("ttft.p50", "ttft.p90", "tpot.p50")


def heading(run: Run) -> str:
    """Return the line above the rows of a sweep in which *run* is the first."""
    times = "".join(f"{name.replace('.', ' '):>{WIDE}}" for name in TIMES)
    return f"{'':<{LOAD}}{'request/s':>{WIDE}}{'token/s':>{NARROW}}{times}{_last(run).replace('.', ' '):>{WIDE + 2}}"


def row(run: Run) -> str:
    """Return one load and what it brought: 79 columns.

    Where requests were due at a time, `ttft` and `latency` count from there.
    """
    times = "".join(f"{_value(run, name):>{WIDE}}" for name in TIMES)
    rates = f"{_value(run, 'request_throughput'):>{WIDE}}{_value(run, 'output_throughput'):>{NARROW}}"
    ended = "" if run.complete else "  incomplete"
    failed = f"  {run.failed} failed" if run.failed else ""
    return f"{load_of(run.workload):<{LOAD}}{rates}{times}{_value(run, _last(run)):>{WIDE + 2}}{failed}{ended}"


def remarks(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the notes of all loads, each once, with the loads it belongs to where those are not all."""
    notes: dict[str, list[str]] = {}
    for run in runs:
        limited = [f"the client was the bottleneck: {run.client_limited}"] if run.client_limited else []
        for note in (*limited, *run.notes):
            notes.setdefault(note, []).append(load_of(run.workload))
    for note, loads in notes.items():
        where = "" if len(loads) == len(runs) else f" ({', '.join(loads)})"
        yield f"note{where}: {note}"


def _last(run: Run) -> str:
    """Return what stands in the last column: goodput where somebody said what is good."""
    return "goodput" if run.workload.goodput else "latency.p50"


def _value(run: Run, name: str) -> str:
    try:
        value = run.value(run.as_objective(name))
    except MetricMissing:
        return ABSENT
    return rate(value, "") if "throughput" in name or name == "goodput" else metric_value(name, value)
