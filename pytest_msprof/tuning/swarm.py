"""The search `pso`: the original's particle swarm, with coefficients that converge and a way to resume."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.lattice import configuration
from pytest_msprof.tuning.load_steps import next_load
from pytest_msprof.tuning.walks import Exhausted, Standing, standing

if TYPE_CHECKING:
    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["DivergingSwarm", "ParticleSwarm", "Swarm"]

Array = NDArray[np.float64]

STALE = 30
"""Generations without a new configuration after which the swarm has settled."""
FASTEST = 0.5
"""Most of the span that a particle moves at once."""
WORST: Standing = (3, 0.0)
SHARE = 5
"""Generations that the default number of particles leaves of a budget."""


class DivergingSwarm(UserWarning):
    """The coefficients of a particle swarm make it fly apart."""


@dataclass(frozen=True, slots=True)
class ParticleSwarm:
    """A particle swarm for `search=`; the defaults are those of Clerc and Kennedy (2002), which converge."""

    n_particles: int = 0
    """0: a fifth of the budget, at least 4 and at most 10."""
    iters: int = 0
    """Generations; 0: as many as the budget holds."""
    c1: float = 1.49618
    """Pull towards the best place of the particle itself."""
    c2: float = 1.49618
    """Pull towards the best place of all."""
    w: float = 0.72984
    """Share of its velocity that a particle keeps."""
    max_fine_tune: int = 10
    """Most trials that adapt the load of the best particle to the constraints, where the load is a field."""
    step_size: float = 0.6
    """Largest relative change of the load in one of them."""

    def __post_init__(self) -> None:
        for name in ("n_particles", "iters", "max_fine_tune", "c1", "c2", "w", "step_size"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"pso needs {name} from 0, but got {getattr(self, name)!r}")
        if not _converges(self.w, self.c1 + self.c2):
            message = f"pso with w={self.w:g}, c1={self.c1:g}, c2={self.c2:g} diverges: it searches at random"
            warnings.warn(message, DivergingSwarm, stacklevel=3)


class Swarm:
    """Flies the swarm again from its first generation at every question, with what was measured.

    So it resumes exactly, and a configuration that several particles reach is measured once.
    Particles stop at the bounds. The first particle is the default.
    """

    def __init__(self, plan: TunePlan, options: ParticleSwarm) -> None:
        self._plan, self._options = plan, options
        self._fields = plan.space.searched
        self._particles = options.n_particles or min(10, max(4, plan.n_trials // SHARE))

    def next(self, records: Sequence[TrialRecord], known: Container[str]) -> dict[str, Value]:
        """Return the first place of a particle whose configuration is not *known*."""
        found = {digest(record.fields): standing(record, self._plan) for record in records}
        visited = set()
        for point in self._flight(found):
            visited.add(digest(point))
            if digest(point) not in known:
                return point
        tuned = [record for record in records if record.number and digest(record.fields) not in visited]
        if len(tuned) < self._options.max_fine_tune:
            other_load = next_load(self._plan, records, known, self._options.step_size)
            if other_load is not None:
                return other_load
        raise Exhausted("the swarm has settled")

    def _flight(self, found: Mapping[str, Standing]) -> Iterator[dict[str, Value]]:
        """Yield the places of the particles, generation by generation, until nothing new comes."""
        at, velocity = self._start(), np.zeros((self._particles, len(self._fields)))
        best_at, best = at.copy(), [WORST] * self._particles
        seen: set[str] = set()
        stale = 0
        for generation in count() if not self._options.iters else range(self._options.iters):
            before = len(seen)
            for particle in range(self._particles):
                point = self._point(at[particle])
                if point is None:
                    continue
                seen.add(digest(point))
                yield point
                if (reached := found.get(digest(point), WORST)) < best[particle]:
                    best[particle], best_at[particle] = reached, at[particle]
            stale = 0 if len(seen) > before else stale + 1
            if stale == STALE:
                return
            leader = best_at[min(range(self._particles), key=best.__getitem__)]
            at, velocity = self._moved(generation, at, velocity, best_at, leader)

    def _start(self) -> Array:
        from scipy.stats import qmc

        start = np.asarray(qmc.LatinHypercube(len(self._fields), rng=self._plan.seed).random(self._particles), float)
        given = self._plan.space.parameters(self._plan.space.default)
        start[0] = [entry.to_unit(given[entry.name]) if entry.name in given else 0.5 for entry in self._fields]
        return start

    def _moved(self, generation: int, at: Array, velocity: Array, best_at: Array, leader: Array) -> tuple[Array, Array]:
        """Return places and velocities of the next generation; what would leave the space stops at its bound."""
        options = self._options
        own, others = np.random.default_rng([self._plan.seed, generation]).random((2, *at.shape))
        pull = options.c1 * own * (best_at - at) + options.c2 * others * (leader - at)
        velocity = np.clip(options.w * velocity + pull, -FASTEST, FASTEST)
        to = at + velocity
        inside = np.clip(to, 0.0, 1.0)
        return inside, np.where(to == inside, velocity, 0.0)

    def _point(self, place: Array) -> dict[str, Value] | None:
        return configuration(
            self._plan.space,
            {entry.name: entry.from_unit(float(unit)) for entry, unit in zip(self._fields, place, strict=True)},
        )


def _converges(w: float, pull: float) -> bool:
    """Say whether a particle comes to rest: Poli, IEEE Transactions on Evolutionary Computation 13(4), 2009."""
    return w < 1 and pull < 24 * (1 - w**2) / (7 - 5 * w)
