"""One load with everything that is found out beside it: monitors, the service's own counts, goodput, the course."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pytest_msprof.crosscheck import mismatches
from pytest_msprof.figures import with_figures
from pytest_msprof.interfaces import LoadGenerator, LoadJob
from pytest_msprof.monitoring import Watch, watching
from pytest_msprof.monitors import Monitor, Watched
from pytest_msprof.results import Measurement
from pytest_msprof.series import Series

__all__ = ["SERVER", "run_load"]

SERVER = "server"
"""The monitor that reads what the service counts."""
POWER = "power"


def run_load(
    generator: LoadGenerator, job: LoadJob, *, monitors: Mapping[str, Monitor], watched: Watched
) -> Measurement:
    """Run *job* with *monitors* beside it, and return everything that was measured."""
    with watching(monitors, watched) as watches:
        measured = generator.generate(job)
        ended = time.monotonic()
    first = _first_send(measured, ended)
    seen = dict(entry for watch in watches for entry in watch.series(first))
    counted = dict(entry for watch in watches if watch.name == SERVER for entry in watch.rises().items())
    return with_figures(
        replace(
            measured,
            series=seen,
            server=_with_hit_rate(counted),
            metrics={**measured.metrics, **_drawn(measured, seen)},
            notes=(*measured.notes, *mismatches(measured, counted, warmup=job.workload.warmup), *_failures(watches)),
        ),
        job.workload,
    )


def _first_send(measured: Measurement, ended: float) -> float:
    """Return when the run began on the monitors' clock; where nobody said, as long before its end as it took."""
    if measured.began is None or measured.samples is None:
        return ended - measured.duration
    return measured.began + float(measured.samples.start.min())


def _with_hit_rate(counted: Mapping[str, float]) -> dict[str, float]:
    """Add the share of the prompts' tokens that the prefix cache knew."""
    queries = counted.get("prefix_queries", 0.0)
    return {**counted, **({"prefix_hit_rate": counted.get("prefix_hits", 0.0) / queries} if queries else {})}


def _drawn(measured: Measurement, seen: Mapping[str, Series]) -> dict[str, float]:
    """Return the power of all devices over the run and their energy for each token, where somebody measured power."""
    powers = [series for name, series in seen.items() if name.endswith(POWER)]
    tokens = measured.metrics.get("output_throughput", 0.0) * measured.duration
    if not powers or measured.duration <= 0:
        return {}
    work = sum(_work(series, measured.duration) for series in powers)
    return {"power": work / measured.duration, **({"energy": work / tokens} if tokens else {})}


def _work(power: Series, duration: float) -> float:
    """Return the integral of *power* over the run, straight lines between the readings."""
    inside = (power.times > 0) & (power.times < duration)
    times = np.concatenate(([0.0], power.times[inside], [duration]))
    return float(np.trapezoid(np.interp(times, power.times, power.values), times))


def _failures(watches: Sequence[Watch]) -> list[str]:
    return [f"monitor {watch.name!r} stopped watching: {watch.failure}" for watch in watches if watch.failure]
