"""How far a study has come: which trial of how many, the best so far, the time that is left."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from statistics import median

from pytest_msprof.display import duration, field_values, metric_value
from pytest_msprof.results import Value
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.plan import ROLES, Slot, TunePlan

__all__ = ["WIDTH", "progress_lines", "seconds_left"]

WIDTH = 80
WHOSE = "msprof: "
"""What `say` puts before the first line."""
MINUTE, HOUR = 60, 3600


def progress_lines(
    plan: TunePlan,
    slot: Slot,
    number: int,
    fields: Mapping[str, Value],
    records: Sequence[TrialRecord],
    *,
    confirmed: int = 0,
    elapsed: float = 0.0,
    at_once: int = 1,
) -> str:
    """Return the lines for the item that starts now and measures trial *number*, its configuration below.

    *records* are the trials that ended, *confirmed* the confirming launches that did, *elapsed* the
    seconds of the budget that are spent, *at_once* the configurations that are measured at a time.
    """
    if slot.kind == "confirm":
        where, best = f"{slot.role} again ({slot.index + 1} of {plan.confirm}), trial {number}", ""
    else:
        where, best = f"trial {number} ({number + 1} of {plan.n_trials})", _best(plan, records)
    left = seconds_left(plan, slot, records, confirmed=confirmed, elapsed=elapsed, at_once=at_once)
    told = [where, best, "" if left is None else f"about {_roughly(left)} left"]
    shown = field_values(fields) if fields else "the engine's defaults"
    lines = [*_wrapped(", ".join(filter(None, told))), *_wrapped(shown)]
    return f"\n{' ' * len(WHOSE)}".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - len(WHOSE), break_on_hyphens=False)


def _roughly(seconds: float) -> str:
    """Return a time to wait without false digits: `40 s`, `3 min`, `2 h 10 min`."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    return f"{round(seconds / MINUTE)} min" if seconds < HOUR else duration(seconds)


def seconds_left(
    plan: TunePlan,
    slot: Slot,
    records: Sequence[TrialRecord],
    *,
    confirmed: int = 0,
    elapsed: float = 0.0,
    at_once: int = 1,
) -> float | None:
    """Return how long the trials and confirming launches that are left will take, None before one was timed.

    Each counts as the median of the trials so far; a budget in minutes ends the trials, not the confirmation.
    """
    took = [record.duration for record in records if record.duration and record.metrics]
    took = took or [record.duration for record in records if record.duration]
    if not took:
        return None
    each = median(took)
    trials = max(plan.n_trials - len(records), 0) if slot.kind == "trial" else 0
    launches = max(plan.confirm * len(ROLES) - confirmed, 0)
    searching = math.ceil(trials / at_once) * each
    if plan.minutes is not None:
        searching = min(searching, max(plan.minutes * 60 - elapsed, each if trials else 0.0))
    return searching + math.ceil(launches / at_once) * each


def _best(plan: TunePlan, records: Sequence[TrialRecord]) -> str:
    held = [
        (record.value, record.number) for record in records if record.state == "measured" and record.value is not None
    ]
    if not held:
        return "nothing has met the limits yet" if records and plan.subject_to else ""
    value, number = max(held) if plan.maximize else min(held)
    return f"best {metric_value(plan.objective, value)} ({f'trial {number}' if number else 'default'})"
