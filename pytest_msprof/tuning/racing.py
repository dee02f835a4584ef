"""Ends a trial after its first requests where it is clearly behind the best one at its own first requests.

Only throughput and the time per token are compared: both settle within a few requests, which the
tail of the first token's time does not. No limit is looked at, since a short run misses it for
reasons of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_msprof.results import Run
from pytest_msprof.tuning.costs import seconds_of
from pytest_msprof.tuning.loads import ROUNDS, THROUGHPUT, OneLoad
from pytest_msprof.tuning.plan import BY_HAND
from pytest_msprof.tuning.trial_log import facts_of
from pytest_msprof.workload import Workload

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["OPENING", "Opening", "Race", "Rival", "opening_of", "rival_among", "short_of"]

OPENING = "opening"
"""The fact of a trial that holds what its first requests came to."""
SHARE = 5
"""The short run sends one in so many requests, or enough to fill the closed loop."""
WORTH = 3
"""Times that the short run must fit into the whole one."""
CLEARLY = 1.5
"""Factor by which both figures must be behind: two starts of one configuration can differ by half."""
ENOUGH = 4
"""Measured trials from which on it is known how many are clearly behind."""
OFTEN = 0.25
"""Share of them from which on short runs save more than they take."""


class Opening(NamedTuple):
    """What the first requests of a run came to, while every place of the closed loop was filled."""

    output_throughput: float
    tpot: float
    """Median."""

    def is_behind(self, other: Opening) -> bool:
        """Say whether it is clearly worse in both figures."""
        return self.output_throughput * CLEARLY < other.output_throughput and self.tpot > other.tpot * CLEARLY


def short_of(plan: TunePlan) -> Workload | None:
    """Return the short run of a plan, None where it has none that says something about the whole.

    That needs one closed loop of counted requests, and an objective that is a throughput or a time per token.
    """
    asked, places = plan.workload, plan.workload.concurrency
    by_load = THROUGHPUT in plan.objective or plan.objective.startswith("tpot")
    if plan.load != "fixed" or plan.goals or not by_load or asked.request_rate or asked.stages or asked.keeps_times:
        return None
    if not places or any(entry.name.upper() in BY_HAND for entry in plan.space):
        return None
    if asked.num_requests is None or asked.duration is not None:
        return None
    sent = max(ROUNDS * places, math.ceil(asked.num_requests / SHARE))
    return asked.model_copy(update={"num_requests": sent}) if sent * WORTH <= asked.num_requests else None


def opening_of(run: Run, short: Workload) -> Opening | None:
    """Return what the requests of *run* came to that ended while a short run still fills every place.

    None where the run does not tell: its load generator keeps no requests or was the bottleneck itself, or too
    few succeeded.
    """
    counted = (short.num_requests or 0) - (short.concurrency or 1)
    samples = run.samples
    if samples is None or run.client_limited:
        return None
    ends = (samples.start + samples.latency)[samples.ok]
    first = np.argsort(ends)[:counted]
    tpot = samples.tpot[samples.ok][first]
    if len(first) < counted or np.all(np.isnan(tpot)):
        return None
    seconds = float(ends[first[-1]] - np.min(samples.start))
    tokens = int(samples.output_tokens[samples.ok][first].sum())
    return Opening(tokens / seconds, float(np.nanmedian(tpot))) if seconds > 0 and tokens > 0 else None


class Rival(NamedTuple):
    """The best trial so far, which a new one is compared with."""

    number: int
    value: float
    opening: Opening
    short: Workload

    def why_behind(self, found: Opening | None) -> str:
        """Say why a trial with the first requests *found* cannot win, empty where it may."""
        if found is None or not found.is_behind(self.opening):
            return ""
        return (
            f"clearly behind trial {self.number} in the first {self.short.num_requests} requests: "
            f"{found.output_throughput:.4g} token/s ({self.opening.output_throughput:.4g} there), "
            f"tpot {found.tpot:.4g} s ({self.opening.tpot:.4g} s)"
        )

    def estimate(self, found: Opening, *, maximize: bool) -> float:
        """Return what the objective of a trial would be if all of it were as far from the rival as its beginning."""
        if maximize:
            return self.value * found.output_throughput / self.opening.output_throughput
        return self.value * found.tpot / self.opening.tpot


def rival_among(plan: TunePlan, finished: Sequence[FrozenTrial]) -> Rival | None:
    """Return what the next trial is compared with, None where a short run would not pay.

    It pays where a run takes longer than a start, and a fair share of the trials was clearly behind.
    """
    short, took = short_of(plan), seconds_of(finished)
    if short is None or took is None or took.run <= took.start:
        return None
    known = {int(trial.user_attrs["number"]): facts for trial in finished if (facts := facts_of(trial)).get(OPENING)}
    held = {number: facts for number, facts in known.items() if "metrics" in facts and not facts["missed"]}
    if len(known) < ENOUGH or not held:
        return None
    sign = 1 if plan.maximize else -1
    best = max(held, key=lambda number: sign * held[number]["value"])
    found = Rival(best, held[best]["value"], Opening(*held[best][OPENING]), short)
    behind = [Opening(*facts[OPENING]).is_behind(found.opening) for facts in known.values()]
    return found if sum(behind) >= OFTEN * len(behind) else None


class Race(OneLoad):
    """The load that was asked for, after a short one that may end the trial."""

    def __init__(self, plan: TunePlan, rival: Rival) -> None:
        super().__init__(plan, plan.workload)
        self.rival = rival
        self.opening: Opening | None = None
        """What the short run came to."""

    @property
    def workload(self) -> Workload | None:
        """The short load, then the whole one unless that would be in vain."""
        if self.first is None:
            return self.rival.short
        return None if self.behind else super().workload

    def tell(self, run: Run) -> None:
        """Report what came of the load that was yielded last."""
        if self.first is not None:
            super().tell(run)
            return
        self.first = run
        self.opening = opening_of(run, self.rival.short)
        self.behind = self.rival.why_behind(self.opening)
