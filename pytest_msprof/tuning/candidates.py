"""What may be proposed: points that fill the space, and points among which a model chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.tuning.encoding import Cube

__all__ = ["Candidates", "Completion", "Parameters"]

Parameters = Mapping[str, Any]
Completion = Callable[[Parameters], dict[str, Any] | None]

WIDE = 512
"""Points over the whole cube that are drawn at a time."""
BATCHES = 4
"""Times that they are drawn where most of the cube may not be proposed."""
FEW = 64
"""Candidates over the whole cube that are enough."""
NEARBY = 96
"""Candidates around each of the best that differ in two parameters or so."""
DESIGN = 256
"""Points of which one is the farthest from what was tried."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Points of *cube* that are not *taken*, as *completed* makes trials of them."""

    cube: Cube
    completed: Completion
    taken: Sequence[Parameters]
    generator: np.random.Generator

    def farthest(self, home: Parameters | None = None, reach: float = 1.0) -> dict[str, Any]:
        """Return the point of a Sobol set, pulled towards *home*, that is farthest from all taken (maximin).

        *reach* is the share of the way from *home* that is left.
        """
        drawn = [self.cube.towards(home or {}, units, reach) for units in self._sobol(DESIGN)]
        found = self._proposable(drawn) or drawn
        if not self.taken:
            return found[0]
        gaps = self.cube.encode(found)[:, None, :] - self.cube.encode(self.taken)[None, :, :]
        return found[int(np.argmax(np.min(np.sum(gaps**2, axis=-1), axis=1)))]

    def around(self, centres: Sequence[Parameters]) -> list[dict[str, Any]]:
        """Return points around *centres* and over the whole cube, none of which is taken."""
        near = [point for centre in centres for point in self.cube.neighbours(centre, self.generator)]
        further = [point for centre in centres for point in self.cube.nearby(centre, self.generator, NEARBY)]
        found = self._proposable([*near, *further], self.taken)
        for _ in range(BATCHES):
            drawn = [self.cube.from_units(units) for units in self._sobol(WIDE)]
            wide = self._proposable(drawn, [*self.taken, *found])
            found += wide
            if len(wide) >= FEW:
                break
        return found

    def sharing(self, running: Parameters, others: Sequence[Parameters]) -> list[dict[str, Any]]:
        """Return points that have the parameters *running*, besides *others*; none where nothing runs."""
        if not running:
            return []
        drawn = [{**self.cube.from_units(units), **running} for units in self._sobol(WIDE)]
        return self._proposable(drawn, [*self.taken, *others])[:FEW]

    def _proposable(self, points: Sequence[Parameters], taken: Sequence[Parameters] = ()) -> list[dict[str, Any]]:
        """Return what may be proposed of *points*, completed, each once, without what was taken."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        known = {self._key(parameters) for parameters in taken}
        for point in points:
            whole = self.completed(point)
            if whole is not None and (key := self._key(whole)) not in known:
                found.setdefault(key, whole)
        return list(found.values())

    def _key(self, parameters: Parameters) -> tuple[Any, ...]:
        return tuple(parameters.get(name) for name in self.cube.space)

    def _sobol(self, count: int) -> NDArray[np.float64]:
        from scipy.stats import qmc

        return np.asarray(qmc.Sobol(self.cube.raw, rng=self.generator).random(count), float)
