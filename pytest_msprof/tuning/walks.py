"""Searches that walk through configurations by rule: each knows its space, and each ends."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Protocol

from pytest_msprof.results import Value
from pytest_msprof.summary import TrialRecord

if TYPE_CHECKING:
    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["Exhausted", "Standing", "Walk", "standing"]

Standing = tuple[int, float]
"""How good a trial is, the smaller the better: what met its constraints stands before what missed them,
and that before what failed."""


class Exhausted(Exception):
    """There is nothing new to propose; says why."""


class Walk(Protocol):
    """A search that follows from what was measured, and from nothing else: so it resumes exactly."""

    def next(self, records: Sequence[TrialRecord], known: Container[str]) -> dict[str, Value]:
        """Return the next configuration, whose digest is not *known*; raises `Exhausted` at the end."""


def standing(record: TrialRecord, plan: TunePlan) -> Standing:
    """Return how good a trial is; a crash is never better than a slow configuration that works."""
    if record.state == "failed" or record.value is None:
        return (2, 0.0)
    if record.state == "infeasible":
        return (1, sum(max(excess, 0.0) for excess in plan.violations(record.metrics).values()))
    return (0, -record.value if plan.maximize else record.value)
