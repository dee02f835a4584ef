"""Studies that several workers of pytest-xdist share, or several machines: who waits for whom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_msprof.collection import case_of, is_worker, slot_of

if TYPE_CHECKING:
    from pytest_msprof.session import MsprofSession
    from pytest_msprof.tuning.plan import Slot
    from pytest_msprof.tuning.study import TuneStudy

__all__ = ["measured_at_once", "wait_for_others"]

PAUSE = 0.2
"""Seconds between two looks at what the others did."""
GIVEN_UP = 10.0
"""Seconds after which an item that no worker began was left out: skipped, failed, deselected."""
AFTER_A_DEATH = 1.0
"""The same once a worker died: what it had not begun comes behind everything else, so behind who waits."""


def wait_for_others(session: MsprofSession, item: pytest.Item, slot: Slot, study: TuneStudy) -> None:
    """Let other workers end what comes before *slot*; the device slot is theirs meanwhile."""
    if not is_worker(item.config):
        while session.shelf.sees_others and study.is_busy():
            session.pool.close()
            time.sleep(PAUSE)
        return
    before = [found for other in item.session.items if case_of(other) == case_of(item) and (found := slot_of(other))]
    asked = (case_of(item), slot.kind)
    idle_since = time.monotonic() - (GIVEN_UP if asked in session.awaited else 0.0)
    while (busy := study.is_busy()) or (_is_missing(study, slot, before) and _is_early(study, idle_since)):
        session.pool.close()
        if busy:
            idle_since = time.monotonic()
        time.sleep(PAUSE)
    session.awaited.add(asked)


def measured_at_once(config: pytest.Config, slots: Sequence[object]) -> int:
    """Return how many configurations are measured at a time: one a worker, and one a slot."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    return max(min(workers, len(slots)), 1)


def _is_early(study: TuneStudy, idle_since: float) -> bool:
    """Say whether somebody may still begin what is missing, though nobody did anything since then."""
    return time.monotonic() - idle_since < (AFTER_A_DEATH if study.lost() else GIVEN_UP)


def _is_missing(study: TuneStudy, slot: Slot, before: Sequence[Slot]) -> bool:
    """Say whether trials are missing that the study still wants, or confirming launches before a result.

    An item whose worker died is not run again.
    """
    begun = len(study.records()) + study.lost()
    if not study.why_ended() and begun < sum(1 for other in before if other.kind == "trial"):
        return True
    roles = study.to_confirm()
    wanted = sum(1 for other in before if other.kind == "confirm" and other.role in roles)
    return slot.kind == "result" and sum(map(len, study.confirmations.of(study.confirming()).values())) < wanted
