"""Figures as people read them: scaled units, signed changes, fields on one line."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from pytest_msprof.results import Value
    from pytest_msprof.workload import Workload

__all__ = [
    "ABSENT",
    "change",
    "duration",
    "field_value",
    "field_values",
    "interval",
    "load_of",
    "load_value",
    "metric_value",
    "percent",
    "rate",
    "seconds",
    "shell_command",
    "span",
]

ABSENT = "—"
"""Stands where there is no figure."""

NO_FIELDS = "engine defaults"
TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
MINUTE, HOUR = 60, 3600
COLUMNS = 78


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits it, with three digits: `71.7 ms`."""
    if not _is_figure(value):
        return ABSENT
    rounded = float(f"{value:.2e}")
    scale, unit = next((known for known in TIME_UNITS if abs(rounded) >= known[0]), TIME_UNITS[-1])
    return f"{_three_digits(rounded / scale)} {unit}" if rounded else "0 s"


def span(low: float, high: float, *, like: float) -> str:
    """Return the bounds around a time, bare numbers in the unit that suits the time itself: `70.1–73.4`."""
    rounded = abs(float(f"{like:.2e}"))
    scale = next((known for known, _ in TIME_UNITS if rounded >= known), TIME_UNITS[-1][0])
    return f"{_three_digits(low / scale)}–{_three_digits(high / scale)}".replace(",", "")


def load_of(workload: Workload) -> str:
    """Return how fast *workload* is sent, in one number: `concurrency 24`, or `3.2 request/s`."""
    load = workload.concurrency if workload.request_rate is None else workload.request_rate
    return ABSENT if load is None else load_value(workload, load)


def load_value(workload: Workload, load: float) -> str:
    """Return what a search found as the load of *workload*: `concurrency 24`, or `3.2 request/s`."""
    return rate(load, "request/s") if workload.request_rate is not None else f"concurrency {load:g}"


def duration(value: float | None) -> str:
    """Return a time that a person waited: `7 min 42 s`."""
    if not _is_figure(value):
        return ABSENT
    if value < MINUTE:
        return seconds(value)
    whole = round(value)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"


def rate(value: float | None, unit: str = "token/s") -> str:
    """Return a rate with its unit: `1,500 token/s`."""
    return f"{_three_digits(value)} {unit}".rstrip() if _is_figure(value) else ABSENT


def change(value: float | None) -> str:
    """Return a relative change with its sign: `+18.5%`."""
    if not _is_figure(value):
        return ABSENT
    digits = 1 if abs(value) < 1 else 0
    text = f"{value:+,.{digits}%}"
    return "0.0%" if text in {"+0.0%", "-0.0%"} else text


def interval(low: float | None, high: float | None) -> str:
    """Return the bounds of a relative change: `+12.0% to +25.1%`."""
    if not (_is_figure(low) or _is_figure(high)):
        return ABSENT
    return f"{change(low)} to {change(high)}"


def percent(value: float | None) -> str:
    """Return a share or a tolerance without a sign: `5%`, `97.9%`."""
    return f"{100 * value:.3g}%" if _is_figure(value) else ABSENT


def metric_value(name: str, value: float | None) -> str:
    """Return *value* as the metric *name* (`ttft.p50`) is read; an unknown metric is a bare figure."""
    from pytest_msprof.metrics import METRICS

    known = METRICS.get(name.partition(".")[0])
    unit = known.unit if known else ""
    if unit in {"s", "s/token"}:
        return seconds(value)
    return percent(value) if unit == "1" else rate(value, unit)


def field_values(fields: Mapping[str, Value]) -> str:
    """Return fields on one line, in their own order: `continuous_batching=True num_blocks=64`."""
    return " ".join(f"{name}={field_value(value)}" for name, value in fields.items()) or NO_FIELDS


def shell_command(command: str, variables: Mapping[str, str] | None = None) -> str:
    """Return a command with its *variables*, ready for a shell, on lines of a terminal's width."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    parts = [f"{name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    for word in map(shlex.quote, words):
        is_value = parts and parts[-1].startswith("--") and " " not in parts[-1] and not word.startswith("--")
        parts[-1:] = [f"{parts[-1]} {word}"] if is_value else [*parts[-1:], word]
    lines = [""]
    for part in parts:
        if lines[-1].strip() and len(lines[-1]) + len(part) >= COLUMNS:
            lines.append("  ")
        lines[-1] += part if not lines[-1].strip() else f" {part}"
    return " \\\n".join(lines)


def field_value(value: Value) -> str:
    """Return a value of a field as people type it: text bare where nothing in it misleads, else as JSON."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        plain = value.isprintable() and value and not set(value) & set(" \"'=")
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return str(value)


def _three_digits(value: float) -> str:
    """Return three significant digits, or all of a whole part that has more."""
    rounded = abs(float(f"{value:.2e}"))
    if rounded == 0:
        return "0"
    decimals = min(max(2 - math.floor(math.log10(rounded)), 0), 9)
    return f"{value:,.{decimals}f}"


def _is_figure(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
