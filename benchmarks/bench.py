"""Counts benchmark runs: what a search may measure, and what it would recommend after so many of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from problems import Problem

__all__ = ["Bench", "Result", "Spent", "ranking_of"]


class Spent(Exception):
    """The budget of runs is used up."""


class Result(NamedTuple):
    """What one run showed."""

    parameters: Mapping[str, Any]
    value: float
    ratios: tuple[float, ...]
    """Metric over limit, one a limit; at most 1 is met."""

    @property
    def strain(self) -> float:
        """The worst metric over its limit."""
        return max(self.ratios)


class Bench:
    """A problem with a budget: each run costs one, whether it crashes or not."""

    def __init__(self, problem: Problem, seed: int, runs: int, shown: Sequence[int]) -> None:
        self.problem, self.runs = problem, 0
        self.crashed: list[Mapping[str, Any]] = []
        self.results: list[Result] = []
        self.ranking: Callable[[], Sequence[Mapping[str, Any]]] = lambda: ranking_of(self.results)
        """What the search would recommend now, the best first; without more, the best runs that met the limits."""
        self.worth: list[float] = []
        """The true value of what was recommended after each of the shown numbers of runs."""
        self._budget, self._shown = runs, shown
        self._noise = np.random.default_rng([seed, 1])

    def run(self, parameters: Mapping[str, Any]) -> Result:
        """Measure once; raises `MemoryError` where the service does not start, `Spent` when nothing is left."""
        self._look()
        if self.runs == self._budget:
            raise Spent
        self.runs += 1
        try:
            value, ratios = self.problem.measure(parameters, self._noise)
        except MemoryError:
            self.crashed.append(dict(parameters))
            raise
        self.results.append(Result(dict(parameters), value, ratios))
        return self.results[-1]

    def launches(self, parameters: Mapping[str, Any], count: int) -> list[Result]:
        """Measure *count* times beside the budget, as a confirmation does."""
        return [Result(dict(parameters), *self.problem.measure(parameters, self._noise)) for _ in range(count)]

    def finish(self) -> None:
        """Let what is recommended now stand for all runs that were not made."""
        self.runs = max([self.runs, *self._shown])
        self._look()

    def _look(self) -> None:
        """Note what is recommended: before the next run, since a search learns from a run after it."""
        while len(self.worth) < len(self._shown) and self._shown[len(self.worth)] <= self.runs:
            self.worth.append(self.problem.worth(next(iter(self.ranking()), None)))


def ranking_of(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """Return the parameters of the runs that met the limits, the best first."""
    held = sorted((result for result in results if result.strain <= 1), key=lambda result: -result.value)
    return [result.parameters for result in held]
