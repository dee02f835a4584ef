"""The `trial` of a test: what to start, what to send, and where to tell what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_msprof.errors import MetricMissing, MsprofError
from pytest_msprof.results import Run, Value
from pytest_msprof.tuning.leases import my_lease
from pytest_msprof.tuning.plan import Slot
from pytest_msprof.tuning.study import Proposal, TuneStudy
from pytest_msprof.workload import Workload

__all__ = ["Trial"]


@dataclass(slots=True)
class Trial:
    """One configuration to measure: a proposal of the search, or a launch that confirms one."""

    fields: Mapping[str, Value]
    """What to start; give it to `launch_service`."""
    number: int
    """Its place in the study; 0 is the default."""
    study: str
    """The study's name."""
    slot: Slot = field(repr=False)
    _study: TuneStudy = field(repr=False)
    _session: str = field(repr=False)
    _proposal: Proposal | None = field(default=None, repr=False)
    told: bool = False
    released: bool = False
    infeasible: str = ""
    """Which constraints the measurement missed, empty when it met them all."""

    def workloads(self) -> Iterator[Workload]:
        """Yield the loads to send, on the live service."""
        workload = self._study.plan.workload
        given = {name.upper(): value for name, value in self.fields.items()}
        concurrency = given.get("CONCURRENCY", given.get("MAXCONCURRENCY"))
        rate = given.get("REQUESTRATE")
        yield workload.with_load(
            concurrency=int(concurrency) if concurrency else None, request_rate=float(rate) if rate else None
        )

    def can_learn_from(self, run: Run) -> bool:
        """Say whether *run* has the objective and every constrained metric."""
        try:
            self._study.plan.measure(run)
        except MetricMissing:
            return False
        return True

    def tell(self, run: Run) -> None:
        """Report what was measured.

        Raises `MetricMissing` when *run* lacks the objective or a constrained metric.
        """
        plan = self._study.plan
        metrics = self._study.tell(self._proposal, run) if self._proposal else plan.measure(run)
        self.infeasible = plan.infeasible(metrics)
        if self._proposal is None and not self.told:
            self._confirm({"run": run.id, "metrics": metrics, "broken": self.infeasible})
        self.told = True

    def fail(self, error: MsprofError) -> None:
        """Report that this configuration could not be measured."""
        if self.told:
            return
        self.told = True
        failure = getattr(error, "failure", "client errors")
        if self._proposal is None:
            self._confirm({"failure": failure, "reason": str(error)})
        else:
            self._study.fail(self._proposal, failure, str(error), getattr(error, "log_tail", ""))

    def begin(self) -> None:
        """Let other workers know who makes a confirming launch."""
        if self._proposal is None:
            self._confirm({"lease": my_lease()})

    def release(self) -> None:
        """Give it back unmeasured."""
        if self.told:
            return
        self.released = True
        if self._proposal is None:
            self._confirm({})
        else:
            self._study.release(self._proposal)

    def _confirm(self, outcome: Mapping[str, Any]) -> None:
        found = {"number": self.number, **outcome}
        self._study.confirmations.remember(self._session, self.slot.role, self.slot.index, found)
