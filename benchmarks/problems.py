"""What a problem for searches is: a space, what each configuration is truly worth, and the best of it."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

__all__ = ["LOAD", "Found", "Problem", "geometric"]

Found = tuple[float, tuple[float, ...]]

LOAD = "load"
"""The parameter that is the load: a search may find it on the live service, without another start."""
POLISHED = 30
"""Best points of the levels whose neighbourhood is looked at for something better still."""


@dataclass(frozen=True)
class Problem:
    """A space, the configuration to start from, and what each configuration is worth.

    *truth* returns the objective and, for each limit, metric over limit (at most 1 is met), or raises
    `MemoryError` where the service would not start.
    """

    name: str
    space: Mapping[str, BaseDistribution]
    default: Mapping[str, Any]
    truth: Callable[..., Found]
    levels: Mapping[str, Sequence[Any]]
    """Values of each parameter among which the best is looked for."""
    noise: float = 0.02
    """Standard deviation of the logarithm of each figure from run to run."""

    def measure(self, parameters: Mapping[str, Any], generator: np.random.Generator) -> Found:
        """Return what one run shows."""
        value, ratios = self.truth(**parameters)
        noise = np.exp(generator.normal(0, self.noise, 1 + len(ratios)))
        return value * noise[0], tuple(ratio * factor for ratio, factor in zip(ratios, noise[1:], strict=True))

    def worth(self, parameters: Mapping[str, Any] | None) -> float:
        """Return the true value, 0 where a limit is broken or nothing was recommended."""
        if parameters is None:
            return 0.0
        try:
            value, ratios = self.truth(**parameters)
        except MemoryError:
            return 0.0
        return value if max(ratios) <= 1 else 0.0

    def optimum(self) -> float:
        """Return the best value that meets the limits: all levels, then every step of a coordinate near the best.

        What was found is kept among the temporary files: a simulation takes minutes.
        """
        key = sha256(repr((self.name, self.space, self.levels, self._probes())).encode()).hexdigest()[:16]
        kept = Path(tempfile.gettempdir()) / f"search-optimum-{key}.json"
        if not kept.exists():
            kept.write_text(json.dumps(self._best()))
        return float(json.loads(kept.read_text()))

    def configurations(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of the levels."""
        for values in itertools.product(*self.levels.values()):
            yield dict(zip(self.levels, values, strict=True))

    def crashing(self, draws: int = 400) -> float:
        """Return the share of the space that does not start."""
        drawn = self._draws(draws)
        return sum(self._crashes(parameters) for parameters in drawn) / draws

    def _best(self) -> float:
        ranked = sorted(((self.worth(point), number, point) for number, point in enumerate(self.configurations())))
        return max(self._polished(value, point) for value, _, point in ranked[-POLISHED:])

    def _polished(self, value: float, point: dict[str, Any]) -> float:
        """Return the best that steps of one number at a time lead to."""
        while True:
            around = [
                {**point, name: moved} for name, at in point.items() for moved in self._moves(name, at) if moved != at
            ]
            best, better = max(((self.worth(other), other) for other in around), key=lambda found: found[0])
            if best <= value:
                return value
            value, point = best, better

    def _moves(self, name: str, at: Any) -> list[Any]:
        entry: Any = self.space[name]
        if not hasattr(entry, "low"):
            return list(entry.choices)
        steps = [at * 0.97, at * 1.03, at - 1, at + 1] if isinstance(at, int) else [at * 0.99, at * 1.01]
        kind = round if isinstance(at, int) else float
        return sorted({min(max(kind(step), entry.low), entry.high) for step in steps})

    def _draws(self, count: int) -> list[dict[str, Any]]:
        from optuna.samplers import RandomSampler

        sampler: Any = RandomSampler(seed=0)
        return [
            {name: sampler.sample_independent(None, None, name, entry) for name, entry in self.space.items()}
            for _ in range(count)
        ]

    def _crashes(self, parameters: Mapping[str, Any]) -> bool:
        try:
            self.truth(**parameters)
        except MemoryError:
            return True
        return False

    def _probes(self) -> list[float]:
        """Return a few values, which differ when the truth was changed."""
        return [self.worth(point) for point in self._draws(40)]


def geometric(low: int, high: int, count: int) -> list[int]:
    """Return about *count* whole numbers, evenly spaced in their logarithm."""
    return sorted({round(value) for value in np.geomspace(low, high, count)})
