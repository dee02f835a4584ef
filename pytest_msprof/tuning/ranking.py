"""Which trials are best, all of them seen together: one run is noisy, its neighbours know better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.tuning.encoding import Cube
from pytest_msprof.tuning.one_thread import on_one_thread
from pytest_msprof.tuning.prior import model_before
from pytest_msprof.tuning.surrogate import Surrogate, scores

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from pytest_msprof.tuning.prior import Earlier

__all__ = ["Launched", "Measured", "ranked", "union", "winner_of"]

FEW = 6
"""Trials below which there is nothing to learn from neighbours."""
SURE = 0.8
"""Probability of meeting the limits from which a trial is worth confirming."""


class Measured(NamedTuple):
    """A trial that was measured."""

    parameters: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    value: float
    excess: Mapping[str, float]
    """By how much it missed each limit, relative; ≤ 0 is met."""

    @property
    def feasible(self) -> bool:
        """Whether it met every limit."""
        return all(found <= 0 for found in self.excess.values())


@on_one_thread
def ranked(trials: Sequence[Measured], *, maximize: bool, earlier: Sequence[Earlier] = ()) -> list[int]:
    """Return the places of the trials that met the limits, the best first.

    They are ordered by the mean of a Gaussian process over all trials, which begins with the model of the
    *earlier* ones where there are some; those that met the limits by luck, with a probability below 0.8 next time,
    come behind the others, the surest first.
    """
    held = [place for place, trial in enumerate(trials) if trial.feasible]
    if not held:
        return []
    values = scores(np.array([trial.value for trial in trials]), maximize=maximize)
    space = union(trial.distributions for trial in trials)
    if len(trials) < FEW or not space:
        return sorted(held, key=lambda place: (-values[place], place))
    cube, limits = Cube(space), sorted({name for trial in trials for name in trial.excess})
    excess = np.array([[trial.excess.get(name, 0.0) for name in limits] for trial in trials], float)
    points = cube.encode([trial.parameters for trial in trials])
    before = None
    if min(trial.value for trial in trials) > 0:
        before = model_before(earlier, cube, limits, maximize=maximize)
    surrogate = Surrogate.fit(points, values, excess, points, np.ones(len(trials)), before)
    mean, sure = surrogate.mean(points), surrogate.feasible(points)
    return sorted(held, key=lambda place: _order(place, mean, sure))


def union(spaces: Any) -> dict[str, BaseDistribution]:
    """Return every parameter that some trial has, without those that have one value only.

    The intersection is empty once a trial stopped early.
    """
    found = {name: entry for space in spaces for name, entry in space.items() if not entry.single()}
    return dict(sorted(found.items()))


class Launched(NamedTuple):
    """What fresh launches of one trial came to."""

    number: int
    """The trial's; 0 is the default."""
    values: tuple[float, ...]
    """The objective of each launch that was measured."""
    failed: int
    broken: int
    """Measured launches that missed a limit."""

    @property
    def held(self) -> bool:
        """Whether more than half of all launches were measured and met every limit."""
        return bool(self.values) and 2 * (self.broken + self.failed) < len(self.values) + self.failed


def winner_of(launched: Sequence[Launched], searched: int, *, maximize: bool) -> int | None:
    """Return the number of the trial to recommend: the best mean of those that held, None where none did.

    The default is recommended only where nothing else held, or where it is what the search found best
    (*searched*): whether another one is really better than it is asked later, with an interval.
    """
    held = [entry for entry in launched if entry.held]
    candidates = [entry for entry in held if entry.number or not searched] or held
    sign = 1 if maximize else -1
    best = max(candidates, key=lambda entry: sign * sum(entry.values) / len(entry.values), default=None)
    return None if best is None else best.number


def _order(place: int, mean: NDArray[np.float64], sure: NDArray[np.float64]) -> tuple[float, float, int]:
    is_sure = sure[place] >= SURE
    return (0.0 if is_sure else 1.0 - sure[place], -mean[place], place)
