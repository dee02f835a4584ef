"""The `trial` of a test: what to start, what to send, and where to tell what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_msprof.errors import MetricMissing, MsprofError
from pytest_msprof.results import Run, Value
from pytest_msprof.tuning.leases import my_lease
from pytest_msprof.tuning.loads import LoadSearch, OneLoad
from pytest_msprof.tuning.plan import Slot
from pytest_msprof.tuning.quality import Judge, Scorers
from pytest_msprof.tuning.racing import Race
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
    behind: str = ""
    """Why it ended after a short run, empty where it did not."""
    _loads: LoadSearch = field(init=False, repr=False)
    _has_begun: bool = field(default=False, init=False, repr=False)
    """Whether a load was asked for, so that the service had started."""

    def __post_init__(self) -> None:
        """Know which loads will be sent."""
        self.begin_again()

    def begin_again(self) -> None:
        """Let a rerun send every load anew; what was told before stays told."""
        self._loads = self._study.loads(None if self._proposal else self.number)

    def workloads(self) -> Iterator[Workload]:
        """Yield the loads to send, on the live service; the next one follows from what `tell` got.

        They end when the trial knows enough, or when the last one was not told.
        """
        loads = self._loads
        while (workload := loads.workload) is not None:
            before, self._has_begun = loads.told, True
            yield self._by_hand(workload)
            if loads.told == before:
                return

    def _by_hand(self, workload: Workload) -> Workload:
        """Return *workload* under the load that fields of the space set."""
        given = {name.upper(): value for name, value in self.fields.items()}
        concurrency = given.get("CONCURRENCY", given.get("MAXCONCURRENCY"))
        rate = given.get("REQUESTRATE")
        return workload.with_load(
            concurrency=int(concurrency) if concurrency else None, request_rate=float(rate) if rate else None
        )

    @property
    def asked(self) -> Workload:
        """The workload of the mark, under the load that fields of the space set."""
        return self._by_hand(self._study.plan.workload)

    def can_learn_from(self, run: Run) -> bool:
        """Say whether *run* has the objective and every constrained metric."""
        try:
            self._study.plan.measure(run)
        except MetricMissing:
            return False
        return True

    def tell(self, run: Run) -> None:
        """Report what was measured under the load that was yielded last.

        Raises `MetricMissing` when *run* lacks the objective or a constrained metric.
        """
        if self._loads.workload is None:
            self._study.plan.measure(run)
            return
        self._loads.tell(run)
        if self._loads.workload is None:
            self.conclude()

    def conclude(self) -> None:
        """Report the load that stands for the trial, where one was told: the body may have stopped early."""
        self._leave_behind()
        if self.told or not self._loads.seen:
            return
        self.told = True
        answer = self._loads.answer
        self.infeasible = self._study.plan.infeasible(answer.metrics)
        if self._proposal is not None:
            loads = self._loads
            self._study.tell(self._proposal, answer.run, load=answer.load, seen=loads.seen, first=loads.first)
        else:
            self._confirm({"run": answer.run.id, "metrics": answer.metrics, "broken": self.infeasible})

    def _leave_behind(self) -> None:
        """End with the short run where it says that the whole one would be in vain."""
        race = self._loads
        if self.told or self._proposal is None or not isinstance(race, Race) or not race.behind:
            return
        if race.first is not None and race.opening is not None:
            self.told, self.behind = True, race.behind
            self._study.leave(self._proposal, race.first, race.opening, race.rival)

    def answer(self, run: Run) -> None:
        """Report what an earlier study measured under the workload of the mark."""
        self._loads = OneLoad(self._study.plan, self._study.plan.workload)
        self.tell(run)

    def fail(self, error: MsprofError) -> None:
        """Report that this configuration could not be measured; a load that held before the failure counts."""
        if self._loads.has_held:
            self.conclude()
        if self.told:
            return
        self.told = True
        failure = getattr(error, "failure", "client errors")
        if self._proposal is None:
            self._confirm({"failure": failure, "reason": str(error)})
        else:
            log_tail = getattr(error, "log_tail", "")
            self._study.fail(self._proposal, failure, str(error), log_tail, before_load=not self._has_begun)

    def judge(self, scorers: Scorers) -> Judge:
        """Return what measures the answers of this trial's service."""
        return Judge(self._study, self.number, scorers)

    @property
    def is_repeatable(self) -> bool:
        """Whether an earlier study may have measured the same: the load of the mark, without a look at the answers."""
        return self._study.plan.load == "fixed" and not self._study.plan.is_judged

    @property
    def measured(self) -> bool:
        """Whether a load was measured that stands for it."""
        return self.told and bool(self._loads.seen)

    def begin(self) -> None:
        """Let other workers know who makes a confirming launch."""
        if self._proposal is None:
            self._confirm({"lease": my_lease()})

    def release(self, *, again: bool = False) -> None:
        """Give it back unmeasured; with *again* it is the next to be proposed."""
        if self.told:
            return
        self.released = True
        if self._proposal is None:
            self._confirm({})
        else:
            self._study.release(self._proposal, again=again)

    def _confirm(self, outcome: Mapping[str, Any]) -> None:
        told = {"by": my_lease()} if outcome.keys() & {"run", "failure"} else {}
        found = {"number": self.number, **outcome, **told}
        self._study.confirmations.remember(self._session, self.slot.role, self.slot.index, found)
