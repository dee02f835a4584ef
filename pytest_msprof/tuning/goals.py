"""Several objectives of one study: how they make one score, and which trials nothing beats."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pytest_msprof.errors import ConfigurationError, MetricMissing
from pytest_msprof.metric_table import SCORE, metric
from pytest_msprof.tradeoffs import front

__all__ = ["Goals"]

WORST_COUNTS = 0.95
"""Share of the goal that is furthest behind in what a search is asked for; the rest is the mean of all.

The augmented Chebyshev function of Knowles' ParEGO (IEEE Transactions on Evolutionary Computation 10, 2006)."""


@dataclass(frozen=True, slots=True)
class Goals:
    """Metrics that count together, each with its weight."""

    weights: Mapping[str, float]
    is_weighted: bool
    """Whether the weights were given; without them the front is searched, in all directions."""

    @classmethod
    def of(cls, given: Any) -> Self:
        """Read the argument `objectives`: metrics with weights, or a list of metrics.

        Raises `ConfigurationError` for anything else, for fewer than two, and for a weight that is not above 0.
        """
        is_weighted = isinstance(given, Mapping)
        if not is_weighted and (isinstance(given, str) or not isinstance(given, Sequence)):
            raise ConfigurationError(f"tune needs objectives as {{metric: weight}} or [metric, …], but got {given!r}")
        weights = dict(given) if is_weighted else dict.fromkeys(given, 1.0)
        if len(weights) < 2 or len(weights) < len(given):  # noqa: PLR2004 - one is an objective
            raise ConfigurationError(f"tune needs two or more different objectives, but got {given!r}")
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
                raise ConfigurationError(f"tune needs a weight above 0 for objective {name!r}, but got {weight!r}")
        return cls({name: float(weight) for name, weight in weights.items()}, is_weighted)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, in the order they were given."""
        return tuple(self.weights)

    @property
    def maximize(self) -> tuple[bool, ...]:
        """Whether larger values are better, of each metric."""
        return tuple(metric(name).better == "higher" for name in self.weights)

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the weighted geometric mean of the metrics, those where lower is better as 1 / value.

        Ratios of two scores are weighted means of gains, whatever the units: twice the throughput makes
        up for twice the latency of equal weight. Raises `MetricMissing` for a value that is not above 0.
        """
        return math.exp(sum(share * gain for share, gain in zip(self._shares(), self._gains(metrics), strict=True)))

    def front(self, trials: Mapping[int, Mapping[str, float]]) -> tuple[int, ...]:
        """Return the numbers of the trials that no other beats, of *trials*: number → metrics."""
        rows = [[metrics[name] for name in self.weights] for metrics in trials.values()]
        numbers = list(trials)
        return tuple(sorted(numbers[place] for place in front(rows, self.maximize)))

    def towards(self, seen: Sequence[Mapping[str, float]], turn: str) -> Callable[[Mapping[str, float]], float]:
        """Return a value to maximise that leads to one place of the front; *turn* says which, by lot.

        Each goal counts by where it stands between the worst and the best of the trials *seen*.
        """
        rows = [self._gains(metrics) for metrics in seen]
        low, high = ([end(column) for column in zip(*rows, strict=True)] for end in (min, max))
        lots = random.Random(turn)  # noqa: S311 - a search, not a secret
        drawn = [lots.expovariate(1.0) for _ in self.weights]

        def value(metrics: Mapping[str, float]) -> float:
            behind = [
                weight / sum(drawn) * (best - gain) / (best - worst or 1.0)
                for weight, gain, worst, best in zip(drawn, self._gains(metrics), low, high, strict=True)
            ]
            return float(-WORST_COUNTS * max(behind) - (1 - WORST_COUNTS) * sum(behind) / len(behind))

        return value

    def describe(self) -> dict[str, float] | list[str]:
        """Return the argument that makes these goals."""
        return dict(self.weights) if self.is_weighted else list(self.weights)

    def _shares(self) -> list[float]:
        return [weight / sum(self.weights.values()) for weight in self.weights.values()]

    def _gains(self, metrics: Mapping[str, float]) -> list[float]:
        """Return the logarithm of each metric, of lower-is-better ones with its sign turned."""
        for name in self.weights:
            if not 0 < metrics[name] < math.inf:
                raise MetricMissing(f"{name} is {metrics[name]}: a {SCORE} needs objectives above 0")
        return [
            math.log(metrics[name]) * (1 if up else -1) for name, up in zip(self.weights, self.maximize, strict=True)
        ]
