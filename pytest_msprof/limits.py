"""Which changes count: `--fail-on request.first_token_latency.p90:+5%`, or 5 % for everything that has a direction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.sources.quantities import DIMENSIONS, quantity, span
from pytest_msprof.sources.source import Name
from pytest_msprof.verdicts import Direction

__all__ = ["DEFAULT", "Limit", "resolve"]

DEFAULT = 0.05
"""The change of any metric that still counts as none."""
SPELLING = re.compile(r"^(?P<name>.+):(?P<sign>[+-]?)(?P<percent>\d+(?:\.\d+)?)%$")
STATISTICS = {
    "average": "mean",
    "avg": "mean",
    "median": "p50",
    **{name: name for name in ("mean", "p50", "p90", "p95", "p99", "min", "max", "value")},
}
SHOWN = 12
"""Names that an error lists at most."""


class Limit(NamedTuple):
    """How much worse one metric may get."""

    name: str
    fraction: float
    better: Direction | None = None
    """Which way is better as the sign says; None: as the metric table says."""

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `METRIC:+5%`: growing by more than 5 % is worse; with a minus, falling is.

        Raises `ConfigurationError` for another spelling.
        """
        found = SPELLING.match(text)
        fraction = float(found["percent"]) / 100 if found else 0.0
        if found is None or not 0 < fraction < 1:
            raise ConfigurationError(
                f"needs METRIC:+PERCENT% between 0 and 100, such as ttft.p90:+5%, but got {text!r}"
            )
        return cls(found["name"], fraction, {"+": "lower", "-": "higher"}.get(found["sign"]))  # type: ignore[arg-type]


def resolve(limits: Iterable[Limit], known: Mapping[Name, Direction | None]) -> dict[Name, Limit]:
    """Find the figures that *limits* mean among the *known* ones.

    Raises `UnknownName` for a name that no side has, and `ConfigurationError` for a sign that calls
    an improvement a failure.
    """
    found: dict[Name, Limit] = {}
    for limit in limits:
        names = [name for name in known if _means(limit.name, name)]
        if not names:
            raise UnknownName("metric of either side", limit.name, _near(limit.name, known))
        for name in names:
            better = known[name]
            if limit.better and better and limit.better != better:
                sign = "+" if better == "lower" else "-"
                raise ConfigurationError(
                    f"{name} is better when {better}: {limit.name}:{sign}{100 * limit.fraction:.3g}% was meant?"
                )
            found[name] = limit
    return found


def _means(text: str, name: Name) -> bool:
    dimension, _, rest = text.partition(".")
    if dimension not in DIMENSIONS:
        dimension, rest = name.dimension, text
    metric, _, tail = rest.rpartition(".")
    statistic = STATISTICS.get(tail.lower()) if metric else None
    if statistic is None:
        metric, statistic = rest, "value"
    keys = {metric, (span(metric) if name.dimension == "spans" else quantity(name.dimension, metric)).key}
    return (dimension, statistic) == (name.dimension, name.statistic) and name.key in keys


def _near(text: str, known: Iterable[Name]) -> list[str]:
    words = [str(name) for name in known]
    parts = [part for part in re.split(r"[._ ]", text) if len(part) > 2]  # noqa: PLR2004 - shorter ones are in every name
    near = [word for word in words if any(part in word for part in parts)]
    return (near or words)[:SHOWN]
