"""What a load must reach, as a user types it: `ttft:0.5`, `success_rate<0.99`."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from pytest_msprof.display import metric_value
from pytest_msprof.errors import ConfigurationError, MetricMissing
from pytest_msprof.metric_table import metric
from pytest_msprof.results import Run

__all__ = ["Objective", "Outcome", "parse_limit", "parse_objective"]

LIMIT = re.compile(r"\s*(?P<name>[\w.]+)\s*(?P<sign>[:=<>])\s*(?P<value>\S+)\s*")


class Outcome(NamedTuple):
    """What became of an objective."""

    value: float | None
    """What was measured, None where the run cannot say."""
    met: bool
    text: str
    """Both figures and the relation between them, or why there is none."""


class Objective(NamedTuple):
    """A figure of the whole run, and the worst it may be."""

    metric: str
    limit: float
    is_ceiling: bool
    """Whether the figure must not exceed the limit; otherwise it must reach it."""

    def judge(self, run: Run) -> Outcome:
        """Say whether *run* met it; a figure that the run does not have is not met."""
        name = run.as_objective(self.metric)
        try:
            value = run.value(name)
        except MetricMissing as error:
            return Outcome(None, False, f"{name}: {error}")
        met = value <= self.limit if self.is_ceiling else value >= self.limit
        relation = "≤" if self.is_ceiling else "≥"
        wanted = f"{name} {metric_value(name, value)}, wanted {relation} {metric_value(name, self.limit)}"
        return Outcome(value, met, wanted)


def parse_limit(text: str) -> tuple[str, float]:
    """Read `METRIC:LIMIT`, the limit in SI units; raises `ConfigurationError` for anything else."""
    name, sign, value = _parts(text)
    if sign not in ":=":
        raise ConfigurationError(f"a limit is METRIC:LIMIT, such as ttft:0.5, but got {text!r}")
    return name, value


def parse_objective(text: str) -> Objective:
    """Read `METRIC:LIMIT`, or the failure itself as `METRIC>LIMIT` or `METRIC<LIMIT`.

    Raises `ConfigurationError` for anything else, and `UnknownName` for a metric that there is not.
    """
    name, sign, value = _parts(text)
    try:
        better = metric(name).better
    except MetricMissing as error:
        raise ConfigurationError(f"{text!r}: {error}") from None
    return Objective(name, value, is_ceiling=sign == ">" or (sign in ":=" and better == "lower"))


def _parts(text: str) -> tuple[str, str, float]:
    found = LIMIT.fullmatch(text)
    try:
        value = float(found["value"]) if found else math.nan
    except ValueError:
        value = math.nan
    if found is None or not math.isfinite(value):
        raise ConfigurationError(f"a limit is METRIC:LIMIT in SI units, such as ttft.p99:0.5, but got {text!r}")
    return found["name"], found["sign"], value
