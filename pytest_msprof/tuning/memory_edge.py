"""What an out-of-memory failure says about configurations that demand at least as much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_msprof.failures import OUT_OF_MEMORY, wants_more_cache
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.results import Value
from pytest_msprof.scales import shown
from pytest_msprof.space import SearchSpace
from pytest_msprof.summary import TrialRecord

__all__ = ["MemoryEdge"]


class MemoryEdge:
    """Compares configurations by the fields that say what memory their values demand.

    Fields that say nothing do not count: who marks one field says that those without a mark do not matter.
    In a space without marks nothing is refused. It is true once a trial ran out of memory.
    """

    def __init__(self, space: SearchSpace, *, any_load: bool) -> None:
        self._marked = tuple(entry for entry in space if entry.memory)
        self._any_load = any_load
        """Whether a failure under load counts, since every configuration gets the same load."""
        self._failed: dict[int, Mapping[str, Value]] = {}

    def __bool__(self) -> bool:
        return bool(self._failed)

    def learn(self, records: Iterable[TrialRecord]) -> None:
        """Take note of the trials that ran out of memory."""
        if self._marked:
            self._failed = {record.number: record.fields for record in records if self._is_edge(record)}

    def crossed(self, fields: Mapping[str, Value]) -> int | None:
        """Return the trial that ran out of memory with no more than *fields* demand, None where there is none."""
        found = (number for number, failed in self._failed.items() if self._demands(fields, failed))
        return next(found, None)

    def describe(self) -> tuple[str, ...]:
        """Return a sentence for each trial that others were refused for."""
        return tuple(
            f"what demands at least the memory of trial {number}, which ran out of it: {self._words(failed)}"
            for number, failed in self._failed.items()
        )

    def _is_edge(self, record: TrialRecord) -> bool:
        ran_out = record.failure == OUT_OF_MEMORY and not wants_more_cache(record.reason)
        return ran_out and (self._any_load or record.before_load)

    def _demands(self, fields: Mapping[str, Value], failed: Mapping[str, Value]) -> bool:
        """Say whether *fields* demand at least as much as *failed* in every marked field."""
        for entry in self._marked:
            if (entry.name in fields) != (entry.name in failed):
                return False  # what the engine chooses by itself cannot be compared
            if entry.name in fields and not _at_least(entry, fields[entry.name], failed[entry.name]):
                return False
        return True

    def _words(self, failed: Mapping[str, Value]) -> str:
        signs = {"more": "≥", "less": "≤", "either": "="}
        given = [entry for entry in self._marked if entry.name in failed]
        return ", ".join(f"{entry.name} {signs[entry.memory]} {shown(failed[entry.name])}" for entry in given)


def _at_least(entry: OptimizerConfigField, value: Value, other: Value) -> bool:
    if entry.memory == "either":
        return bool(value == other)
    one, two = ((entry.dtype_param.index(v) if entry.dtype == "enum" else v) for v in (value, other))
    return bool(one >= two if entry.memory == "more" else one <= two)
