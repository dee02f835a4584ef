"""Measured samples as pytest-benchmark entries, bit for bit. The only module that knows it.

A clock moved by hand is the benchmark's timer: each round advances it by one measured value, so
nothing private is touched and the table, the JSON and `--benchmark-compare` work as for any test.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from pytest_msprof.results import Run

__all__ = ["CLOCK", "Publisher", "add_entries", "install_clock", "machine_info", "update_json"]

MOST_ROUNDS = 2000
"""Rounds of one entry; more are thinned, since 20,000 cost 100 ms and megabytes of JSON."""
SCHEMA_VERSION = 1
"""Version of the `msprof` block in pytest-benchmark's JSON. 1: first release."""
RATES = ("output_throughput", "request_throughput")
DISTRIBUTIONS = ("ttft", "tpot", "itl", "latency")


class HandClock:
    """A timer that shows the durations it is fed, one a round."""

    __name__ = "msprof_clock"

    def __init__(self) -> None:
        self._values: list[float] = []
        self._now = 0.0

    def feed(self, values: Sequence[float]) -> None:
        """Take the durations of the next rounds, in seconds."""
        self._values = list(reversed(values))

    def reset(self) -> None:
        """Go back to zero, before a round."""
        self._now = 0.0

    def advance(self) -> None:
        """Move by the next duration; this is what is benchmarked."""
        self._now += self._values.pop() if self._values else 0.0

    def __call__(self) -> float:
        return self._now


CLOCK = HandClock()


class _Entry(NamedTuple):
    name: str
    fullname: str
    group: str
    values: list[float]
    extra_info: dict[str, Any]


def install_clock(item: pytest.Item) -> None:
    """Make the hand-moved clock the timer of *item*, keeping the arguments of outer marks.

    pytest-benchmark reads the closest mark only, so they are merged into one that lies closest.
    """
    merged: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("benchmark"))):
        merged |= mark.kwargs
    item.add_marker(pytest.mark.benchmark(**{**merged, "timer": CLOCK}), append=False)


class Publisher:
    """Publishes runs through copies of one `benchmark` fixture, made before its first use."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark
        self._blank = copy.copy(benchmark)

    def publish(self, runs: Sequence[Run], *, label: str = "") -> None:
        """Make one entry a metric, over all *runs*; lower is better in all of them.

        *label* takes the place of the item's own part of the node id.
        """
        blank = self._blank
        if blank is None or blank.disabled or not runs:
            return
        for entry in _entries(runs, _labelled(blank.name, label), _labelled(blank.fullname, label)):
            fixture = copy.copy(blank)
            fixture.name, fixture.fullname, fixture.group = entry.name, entry.fullname, entry.group
            fixture.params, fixture.extra_info = _plain(blank.params), entry.extra_info
            CLOCK.feed(entry.values)
            fixture.pedantic(CLOCK.advance, setup=CLOCK.reset, rounds=len(entry.values))

    def close(self) -> None:
        """Use the original fixture without an entry: unused, it would warn."""
        if self._benchmark is None:
            return
        from pytest_benchmark.fixture import FixtureAlreadyUsed

        self._benchmark.disabled = True
        with suppress(FixtureAlreadyUsed):
            self._benchmark.pedantic(CLOCK.advance, setup=CLOCK.reset)


def add_entries(config: pytest.Config, nodeid: str, runs: Sequence[Run], *, label: str = "") -> None:
    """Publish runs that another process measured: pytest-benchmark disables itself under xdist."""
    session: Any = config.pluginmanager.get_plugin("pytest-benchmark")
    if session is None or session.skip or config.getoption("benchmark_disable"):
        return
    from pytest_benchmark.stats import Metadata

    make: Any = Metadata
    fullname = _labelled(nodeid, label)
    for entry in _entries(runs, fullname.rpartition("::")[2], fullname):
        fixture = SimpleNamespace(
            name=entry.name,
            fullname=entry.fullname,
            group=entry.group,
            param=None,
            params=None,
            extra_info=entry.extra_info,
            cprofile_stats=None,
            has_error=False,
        )
        metadata = make(fixture, iterations=1, options={"timer": CLOCK})
        for value in entry.values:
            metadata.update(value)
        session.benchmarks.append(metadata)


def update_json(output_json: dict[str, Any], runs: Sequence[Run]) -> None:
    """Add the block that our own reader trusts: every run, whole."""
    if runs:
        output_json["msprof"] = {
            "schema_version": SCHEMA_VERSION,
            "runs": [run.model_dump(mode="json") for run in runs],
        }


def machine_info(info: dict[str, Any]) -> None:
    """Drop what differs on every run, so that `--benchmark-compare` does not warn each time."""
    cpu = info.get("cpu")
    if isinstance(cpu, dict):
        for name in ("hz_actual", "hz_actual_friendly"):
            cpu.pop(name, None)


def _entries(runs: Sequence[Run], name: str, fullname: str) -> list[_Entry]:
    """Return an entry for each metric that the runs have: samples of all of them, one rate a run."""
    found = {
        metric: values for metric in DISTRIBUTIONS if (values := [v for run in runs for v in _values(run, metric)])
    }
    for metric in RATES:
        if periods := [1 / rate for run in runs if (rate := run.metrics.get(metric))]:
            found[metric] = periods
    return [
        _Entry(
            name=_with_metric(name, metric),
            fullname=_with_metric(fullname, metric),
            group=metric,
            values=_thinned(values),
            extra_info=_extra_info(runs, metric, len(values)),
        )
        for metric, values in found.items()
    ]


def _values(run: Run, metric: str) -> list[float]:
    """Return the values behind a distribution, or its mean where only that is known."""
    samples = run.samples
    if samples is None:
        distribution = run.distributions.get(metric)
        mean = distribution.root.get("mean") if distribution else None
        return [mean] if mean is not None else []
    from pytest_msprof.metrics import quantities

    return [float(value) for value in quantities(samples).get(metric, ()) if not math.isnan(value)]


def _thinned(values: list[float]) -> list[float]:
    """Return at most `MOST_ROUNDS` evenly spaced order statistics."""
    if len(values) <= MOST_ROUNDS:
        return values
    ordered = sorted(values)
    step = (len(ordered) - 1) / (MOST_ROUNDS - 1)
    return [ordered[round(index * step)] for index in range(MOST_ROUNDS)]


def _extra_info(runs: Sequence[Run], metric: str, count: int) -> dict[str, Any]:
    info: dict[str, Any] = {
        "metric": metric,
        "run_ids": [run.id for run in runs],
        "launch_ids": list(dict.fromkeys(run.launch_id for run in runs)),
        "engine": runs[0].engine,
        "unit": "s/token" if metric in ("tpot", "output_throughput") else "s",
    }
    if metric in RATES:
        info["recorded_as"] = "period, so that lower is better"
    if count > MOST_ROUNDS:
        info["thinned_from"] = count
    return info


def _with_metric(name: str, metric: str) -> str:
    """Put the metric between the function and its parameters: `test_x:ttft[vllm-8]`."""
    head, bracket, parameters = name.partition("[")
    return f"{head}:{metric}{bracket}{parameters}"


def _labelled(name: str, label: str) -> str:
    """Put *label* where the slot of a study stands: `test_x[vllm-result]` → `test_x[vllm-winner]`."""
    return re.sub(r"result\]$", f"{label}]", name) if label else name


def _plain(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return parameters that JSON can hold; objects of ours would be an internal error."""
    if params is None:
        return None
    return {
        name: value if isinstance(value, str | int | float | bool) else str(value) for name, value in params.items()
    }
