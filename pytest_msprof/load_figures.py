"""What `pytest-msprof load` found, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_msprof.distributions import Distribution
from pytest_msprof.metric_table import METRICS
from pytest_msprof.objectives import Objective
from pytest_msprof.results import Run

__all__ = ["SCHEMA_VERSION", "figures", "sweep_figures"]

SCHEMA_VERSION = 1
"""Version of the JSON object. 1: first release."""
STATISTICS = ("mean", "std", "min", "p50", "p90", "p95", "p99", "max")
ALWAYS = ("ttft", "tpot", "itl", "latency", "output_throughput", "request_throughput", "goodput", "success_rate")
"""Metrics that are told even where they are null."""


def figures(run: Run, objectives: Sequence[Objective] = ()) -> dict[str, Any]:
    """Return one JSON object with every metric as a key, in SI units; null is what was not measured."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": run.id,
        "started_at": run.started_at.isoformat(),
        "duration": run.duration,
        "completed": run.completed,
        "failed": run.failed,
        "errors": dict(run.errors),
        "complete": run.complete,
        "concurrency": run.workload.concurrency,
        "request_rate": run.workload.request_rate,
        **_metrics(run.metrics, run.distributions),
        "percentiles": {name: _percentile(run, name) for name in _percentiles(run)},
        "steady_state": _steady(run),
        "objectives": [
            {"metric": wanted.metric, "limit": wanted.limit, "value": found.value, "met": found.met}
            for wanted in objectives
            for found in (wanted.judge(run),)
        ],
        "server": dict(run.server),
        "client": dict(run.client),
        "client_limited": run.client_limited,
        "notes": list(run.notes),
        "model": run.model,
        "load_generator": run.load_generator,
        "workload": run.workload.model_dump(mode="json"),
    }


def sweep_figures(runs: Sequence[Run], objectives: Sequence[Objective] = (), *, complete: bool) -> dict[str, Any]:
    """Return one JSON object for a sweep, whose `loads` are those of `figures`, in the order in which they were sent.

    It is not *complete* where loads are missing, or one was stopped.
    """
    loads = [figures(run, objectives) for run in runs]
    return {"schema_version": SCHEMA_VERSION, "complete": complete, "loads": loads}


def _metrics(metrics: Mapping[str, float], distributions: Mapping[str, Distribution]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in METRICS.items():
        if entry.distribution and (name in ALWAYS or name in distributions):
            values = distributions[name].root if name in distributions else {}
            found[name] = {statistic: values.get(statistic) for statistic in STATISTICS} | {
                "n": int(values.get("n", 0))
            }
        elif not entry.distribution:
            found[name] = metrics.get(name)
    return found | {name: value for name, value in metrics.items() if name not in METRICS}


def _percentiles(run: Run) -> Iterator[str]:
    for name, found in run.distributions.items():
        yield from (f"{name}.{statistic}" for statistic in found.root if statistic.startswith("p"))


def _percentile(run: Run, name: str) -> dict[str, float | None]:
    low, high = run.intervals.get(name, (None, None))
    return {"value": run.value(name), "low": low, "high": high}


def _steady(run: Run) -> dict[str, Any] | None:
    if run.steady is None:
        return None
    place = run.steady.model_dump(include={"start", "end", "running", "requests"})
    return place | _metrics(run.steady.metrics, run.steady.distributions)
