"""The original's fine-tuning: the load of the best configuration, adapted to what the constraints allow."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.scales import is_number
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.lattice import configuration
from pytest_msprof.tuning.walks import standing

if TYPE_CHECKING:
    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["next_load"]

RATES = ("REQUESTRATE",)
LOADS = ("CONCURRENCY", "MAXCONCURRENCY", *RATES)
BAND = 0.1
"""A constraint that is met by less than this share of its limit is met well."""
HALVINGS = 8


def next_load(
    plan: TunePlan, records: Sequence[TrialRecord], known: Container[str], step_size: float
) -> dict[str, Value] | None:
    """Return the best configuration under another load, None where no better load is in sight.

    The load moves by the share that the worst constraint is off, at most by *step_size*; a load
    that was tried is approached by halves.
    """
    loaded = [record for record in records if record.state != "failed" and _load_fields(plan, record)]
    if not loaded or not plan.subject_to:
        return None
    best = min(loaded, key=lambda record: (standing(record, plan), record.number))
    violations = plan.violations(best.metrics)
    name = max(violations, key=violations.__getitem__)
    excess = violations[name]
    if -BAND <= excess <= 0:
        return None
    entry = _moved_by(name, _load_fields(plan, best))
    here = best.fields[entry.name]
    target = here * (1 - min(max(excess, -1.0), 1.0) * step_size)
    for halving in range(HALVINGS):
        point = _at(plan, best, entry, here + (target - here) / 2**halving)
        if point is not None and digest(point) not in known:
            return point
    return None


def _load_fields(plan: TunePlan, record: TrialRecord) -> list[OptimizerConfigField]:
    """Return the fields that say how much load there is, as far as the trial has them."""
    return [
        entry
        for entry in plan.space.searched
        if entry.name.upper() in LOADS and is_number(record.fields.get(entry.name))
    ]


def _moved_by(constraint: str, fields: Sequence[OptimizerConfigField]) -> OptimizerConfigField:
    """Return the field to move: the rate for the first token, the concurrency for the others."""
    wanted = [entry for entry in fields if (entry.name.upper() in RATES) == constraint.startswith("ttft")]
    return (wanted or fields)[0]


def _at(plan: TunePlan, best: TrialRecord, entry: OptimizerConfigField, load: float) -> dict[str, Value] | None:
    inside = min(max(round(load) if entry.dtype == "int" else load, entry.min), entry.max)
    value = entry.from_unit(entry.to_unit(inside)) if entry.contains(inside) else None
    chosen = {**plan.space.parameters(best.fields), entry.name: value}
    return None if value is None else configuration(plan.space, chosen)
