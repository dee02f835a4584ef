"""What a study did not try, and why: so that nobody takes silence for an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.results import Value
from pytest_msprof.scales import shown
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.plan import TunePlan

__all__ = ["untried"]

MOST_NAMED = 8
"""Values of a field that are named one by one."""
WIDE = 0.25
"""Share of a span without a trial that is worth a line."""


def untried(
    plan: TunePlan, records: Sequence[TrialRecord], refused: Sequence[Mapping[str, Value]], stopped: str
) -> tuple[str, ...]:
    """Return a sentence for everything that was left out.

    That is trials of the budget, proposals that were *refused* before a start because they break a
    condition, what was cut off when the space was made, values of a field, and how much of the space is left.
    """
    if not records:
        return ()
    return (
        *_left_over(plan, records, stopped),
        *_refused(plan, refused),
        *plan.space.left_out,
        *_values(plan, records),
    )


def _left_over(plan: TunePlan, records: Sequence[TrialRecord], stopped: str) -> Iterator[str]:
    left, size = plan.n_trials - len(records), plan.space.size()
    why = stopped or "the session ended before them"
    if left > 0:
        yield f"{left} of {plan.n_trials} trials: {why}"
    if size is not None and size > len(records):
        budget = f"the budget is {plan.n_trials} trial{'s' * (plan.n_trials > 1)}"
        yield f"{size - len(records):,} of {size:,} configurations: {why if left > 0 else budget}"


def _refused(plan: TunePlan, refused: Sequence[Mapping[str, Value]]) -> Iterator[str]:
    broken = [found[0] for values in refused if (found := plan.space.violations(values))]
    if broken:
        proposals = "1 proposal" if len(broken) == 1 else f"{len(broken)} proposals"
        yield f"{proposals}, refused before a start: {broken[-1]}"


def _values(plan: TunePlan, records: Sequence[TrialRecord]) -> Iterator[str]:
    for entry in plan.space.searched:
        tried = [record.fields[entry.name] for record in records if entry.name in record.fields]
        if not tried:
            yield f"{entry.name}: no configuration that was tried has it"
        elif entry.options is not None:
            yield from _options(entry, tried)
        elif not entry.following:
            yield from _gaps(entry, tried)


def _options(entry: OptimizerConfigField, tried: Sequence[Value]) -> Iterator[str]:
    missing = [option for option in entry.options or () if option not in tried]
    if len(missing) > MOST_NAMED:
        yield f"{entry.name}: {len(missing)} of {len(entry.options or ())} values"
    elif missing:
        yield f"{entry.name}: {', '.join(map(shown, missing))}"


def _gaps(entry: OptimizerConfigField, tried: Sequence[Value]) -> Iterator[str]:
    """Name the stretches of a span that no trial came near."""
    places = sorted({0.0, 1.0, *(entry.to_unit(value) for value in tried if entry.contains(value))})
    for low, high in pairwise(places):
        if high - low > WIDE:
            ends = " to ".join(shown(entry.from_unit(place)) for place in (low, high))
            yield f"{entry.name}: nothing from {ends}"
