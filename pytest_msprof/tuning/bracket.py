"""The largest load that a live service bears within its limits, found in a handful of loads."""

from __future__ import annotations

import math
from itertools import pairwise

__all__ = ["Bracket"]

CLOSE_ENOUGH = 1.08
"""Ratio of the least load that missed to the most that held at which the search ends."""
AIM = 0.98
"""Strain that a secant aims at: just below the limit, since a load that holds is the answer."""
MOST_GROWTH = 4.0
"""Factor by which a load moves at most beyond what was measured."""
LEAST_SLOPE, MOST_SLOPE = 0.25, 4.0
"""Powers of the load with which strain is believed to grow."""
ONE_HIGHER = CLOSE_ENOUGH**2
NARROW_MISS = 2.0
"""Strain up to which a miss may be an outlier, and one load higher has a say."""
LEAST_STRAIN, MOST_STRAIN = 0.02, 2.0
"""What a secant sees of the strain: a queue that has no end would draw it to the other end of a bracket."""
WORTH_A_RUN = 1.05
"""Throughput of the least load that missed, over the best that held, below which the rest is not looked for."""
CLEARLY_LESS = 1.1
"""Factor between two throughputs that neither noise nor a little more load makes up for."""
SATURATED, MUCH_HIGHER = 1.02, 1.25
"""Growth of the throughput, and of the load for it, at which a heavier load is not worth a run."""
MARGIN = 0.1
"""Share of a bracket, in logarithms, that a secant stays away from its ends."""


class Bracket:
    """Narrows in on the largest load whose *strain*, worst metric over limit, is at most 1.

    The secant works on logarithms of both, where queues and batches are nearly straight. One p99
    outlier can close a bracket far below the truth, so before it closes on a narrow miss it looks
    at one load higher; if that holds, the miss is forgotten.

    Where it is told the throughput, too, it ends as soon as no load can bring more than *to_beat*, or
    much more than what held: throughput never falls as a load grows towards its limit, so what the
    least load that missed brought is more than any load below it can bring. It looks at one load higher
    here, too, unless that could not bring more either.
    """

    def __init__(
        self,
        start: float,
        *,
        least: float = 1.0,
        most: float = 4096.0,
        whole: bool = True,
        runs: int = 12,
        to_beat: float | None = None,
    ) -> None:
        self._least, self._most, self._whole, self._left = least, most, whole, runs
        self._next: float | None = self._rounded(start)
        self._strains: dict[float, float] = {}
        self._values: dict[float, float] = {}
        self._to_beat = to_beat

    @property
    def load(self) -> float | None:
        """The load to measure next, None when the search has ended."""
        return self._next

    @property
    def best(self) -> float | None:
        """The largest load that held, None while none did."""
        return max((load for load, strain in self._strains.items() if strain <= 1), default=None)

    @property
    def _missed(self) -> float | None:
        """The least load that missed, None while none did."""
        return min((load for load, strain in self._strains.items() if strain > 1), default=None)

    @property
    def answer(self) -> float:
        """The largest load that held; the one that missed by least where none did."""
        return self.best if self.best is not None else min(self._strains, key=lambda load: self._strains[load])

    def tell(self, strain: float, value: float | None = None) -> None:
        """Report the strain under `load`, infinity where the service did not bear it at all, and the throughput."""
        if self._next is None:
            raise ValueError("the bracket has closed: there is no load to tell about")
        self._strains[self._next] = strain
        if value is not None:
            self._values[self._next] = value
        self._forget_outliers()
        self._left -= 1
        self._next = self._following() if self._left > 0 else None

    def _following(self) -> float | None:
        """Return the load to measure next, None where the search ends."""
        if not self._is_decided():
            return self._choose()
        missed = self._missed
        if missed is None or missed not in self._values or self._is_hopeless(missed):
            return None
        return self._one_higher(missed)

    def _forget_outliers(self) -> None:
        """Drop misses below a load that held."""
        best = self.best
        if best is not None:
            self._strains = {load: strain for load, strain in self._strains.items() if load >= best or strain <= 1}

    def _is_decided(self) -> bool:
        """Say whether no further load can make a difference that matters."""
        at, missed = self._held(), self._missed
        if missed is not None and missed in self._values:
            most = self._values[missed]
            return most <= max([self._values[load] * WORTH_A_RUN for load in at] + [self._to_beat or 0.0])
        if len(at) < 2:  # noqa: PLR2004 - a growth needs two
            return False
        growth = self._values[at[-1]] / self._values[at[-2]]
        return growth < SATURATED and at[-1] >= at[-2] * MUCH_HIGHER

    def _is_hopeless(self, missed: float) -> bool:
        """Say whether loads above *missed* could not make a difference that matters even if it had held.

        It brought much less than what is to beat, or no more than a load far below it that held.
        """
        most = self._values[missed]
        stands_still = any(
            most <= self._values[load] * WORTH_A_RUN and missed >= load * MUCH_HIGHER for load in self._held()
        )
        return stands_still or most * CLEARLY_LESS <= (self._to_beat or 0.0)

    def _held(self) -> list[float]:
        """Return the loads that held and whose throughput is known, ascending."""
        return sorted(load for load, strain in self._strains.items() if strain <= 1 and load in self._values)

    def _choose(self) -> float | None:
        held, missed = self.best, self._missed
        if missed is None:
            return self._beyond(held or self._least)
        if held is None:
            return self._below(missed)
        if missed <= held * CLOSE_ENOUGH or (self._whole and missed - held <= 1):
            return self._one_higher(missed)
        return self._between(held, missed)

    def _beyond(self, held: float) -> float | None:
        """Return a load above all that were measured, where the secant expects the limit."""
        if held >= self._most:
            return None
        wanted = self._secant(held)
        return self._rounded(min(max(wanted, held * CLOSE_ENOUGH), held * MOST_GROWTH), above=held)

    def _below(self, missed: float) -> float | None:
        if missed <= self._least:
            return None
        wanted = self._secant(missed)
        return self._rounded(max(min(wanted, missed / CLOSE_ENOUGH), missed / MOST_GROWTH), below=missed)

    def _between(self, held: float, missed: float) -> float:
        width = math.log(missed / held)
        rise = math.log(self._bounded(missed) / self._bounded(held))
        share = math.log(AIM / self._bounded(held)) / rise if rise > 0 else 0.5
        found = held * math.exp(width * min(max(share, MARGIN), 1 - MARGIN))
        return self._rounded(found, above=held, below=missed)

    def _one_higher(self, missed: float) -> float | None:
        """Return the one load above a narrow miss that decides whether it was an outlier, None to close."""
        narrow = self._strains[missed] < NARROW_MISS
        higher = self._rounded(missed * ONE_HIGHER, above=missed)
        if not narrow or higher <= missed or any(load > missed for load in self._strains):
            return None
        return higher

    def _secant(self, load: float) -> float:
        """Return where the strain reaches its limit, seen from *load* along the last slope."""
        return float(load * (AIM / self._bounded(load)) ** (1 / self._slope()))

    def _slope(self) -> float:
        """Return the power of the load with which strain grows, 1 while only one load is known."""
        loads = sorted(self._strains)
        if len(loads) < 2:  # noqa: PLR2004 - a line needs two
            return 1.0
        one, other = list(pairwise(loads))[-1 if self.best else 0]
        slope = math.log(self._bounded(other) / self._bounded(one)) / math.log(other / one)
        return min(max(slope, LEAST_SLOPE), MOST_SLOPE)

    def _bounded(self, load: float) -> float:
        """Return the strain at *load* as a secant sees it."""
        return min(max(self._strains[load], LEAST_STRAIN), MOST_STRAIN)

    def _rounded(self, load: float, *, above: float = 0.0, below: float = math.inf) -> float:
        """Return *load* within the bounds, and whole where loads are; never *above* or *below* itself."""
        found = min(max(load, self._least), self._most)
        if not self._whole:
            return found
        lowest = max(math.floor(above) + 1, math.ceil(self._least))
        highest = math.ceil(min(below, self._most + 1)) - 1
        return float(min(max(round(found), lowest), highest))
