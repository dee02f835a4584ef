"""What the metrics of different tools have in common: one key, one unit, one direction."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pytest_msprof.metric_table import METRICS

__all__ = ["DIMENSIONS", "SPAN_NAMES", "Quantity", "quantity", "span"]

DIMENSIONS = ("service", "request", "batch", "spans", "benchmarks")
"""In this order everywhere."""

Direction = Literal["lower", "higher"]
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9}
UNIT = re.compile(r"^(?P<name>.*\S)\s*\((?P<unit>[^()]+)\)$", re.DOTALL)


class Quantity(NamedTuple):
    """One metric: the key by which two tools agree, and how a file spells it."""

    dimension: str
    key: str
    """Ours where we have the same (`ttft`), else the file's name without its unit."""
    label: str
    """As the file spells it: `first_token_latency (ms)`."""
    unit: str
    """Of the value inside: times are seconds whatever the label says."""
    per_unit: float
    """What one unit inside is in the unit of the label: 1000 for milliseconds."""
    better: Direction | None


SAME = {
    "first_token_latency": "ttft",
    "subsequent_token_latency": "itl",
    "total_time": "latency",
    "generate_token_speed": "output_throughput",
    "generate_all_token_speed": "total_throughput",
    "input_token_num": "input_tokens",
    "generated_token_num": "output_tokens",
    "total_input_token_num": "total_input_tokens",
    "total_generated_token_num": "total_output_tokens",
}
"""Names of the original's summaries, and ours for the same quantity."""

BETTER: dict[str, Direction] = {
    "total_throughput": "higher",
    "exec_time": "lower",
    "waiting_time": "lower",
    "prefill_exec_time": "lower",
    "decode_exec_time": "lower",
}
"""Directions beyond the metric table."""

SPAN_NAMES = {
    "BatchSchedule": "schedule",
    "batchFrameworkProcessing": "schedule",
    "Schedule": "schedule",
    "modelExec": "execute",
    "modelRunnerExec": "execute",
    "Execute": "execute",
}
"""What frameworks call the same event."""


def quantity(dimension: str, label: str) -> Quantity:
    """Return what *label* means: `first_token_latency (ms)` is `ttft`, kept in seconds."""
    found = UNIT.match(label)
    name, unit = (found["name"], found["unit"]) if found else (label, "")
    key = SAME.get(name, name)
    known = METRICS.get(key)
    if unit in PER_SECOND:
        return Quantity(dimension, key, label, "s", PER_SECOND[unit], known.better if known else BETTER.get(key))
    return Quantity(dimension, key, label, known.unit if known else unit, 1.0, _direction(key))


def span(name: str) -> Quantity:
    """Return the time of the spans called *name*, which is better when shorter."""
    return Quantity("spans", SPAN_NAMES.get(name, name), name, "s", 1e3, "lower")


def _direction(key: str) -> Direction | None:
    known = METRICS.get(key)
    return known.better if known else BETTER.get(key)
