"""What was measured before: the same configuration under the same load is not measured twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cached_property

from pytest_msprof.ids import digest
from pytest_msprof.results import Run, Value
from pytest_msprof.store import RunStore

__all__ = ["Condition", "KnownRuns", "same_condition"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What decides about a figure, as far as anybody can say beforehand."""

    engine: str
    version: str
    fields: Mapping[str, Value]
    """Server-side fields."""
    load_generator: str
    load_fields: Mapping[str, Value]
    workload_hash: str
    model_digest: str
    device: str
    hardware: str = ""
    """What the engine had for itself: how many devices, how much memory; empty where the run did not say."""

    @classmethod
    def of(cls, run: Run) -> Condition:
        """Return the condition that *run* was measured under."""
        facts = run.environment.get("hardware")
        return cls(
            engine=run.engine,
            version=str(run.environment.get("version", "")),
            fields=run.fields,
            load_generator=run.load_generator,
            load_fields=run.load_fields,
            workload_hash=run.workload_hash,
            model_digest=run.model_digest,
            device=run.device,
            hardware=str(facts.get("slot", "")) if isinstance(facts, Mapping) else "",
        )


class KnownRuns:
    """The runs of *store* by their condition; it is read once, when the first is asked for."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def find(self, condition: Condition) -> Run | None:
        """Return the last whole run under *condition*, None where the engine does not say its version."""
        run_id = self._newest.get(same_condition(condition)) if condition.version else None
        return self._store.load(run_id) if run_id else None

    @cached_property
    def _newest(self) -> dict[str, str]:
        trusted = (run for run in self._store.runs() if run.complete and not run.client_limited)
        return {same_condition(Condition.of(run)): run.id for run in trusted}


def same_condition(condition: Condition) -> str:
    """Return what is equal for equal conditions."""
    return digest([dict(part) if isinstance(part, Mapping) else part for part in astuple(condition)])
