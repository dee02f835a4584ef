"""A study: asks for configurations, remembers what came of them, and survives interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pytest_msprof.results import Run, Value
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.asking import GAIN, PRIOR, Asking
from pytest_msprof.tuning.confirmations import Confirmations
from pytest_msprof.tuning.costs import facts_of_launch
from pytest_msprof.tuning.finalists import Finalists, measured_of
from pytest_msprof.tuning.kept import figures_of
from pytest_msprof.tuning.leases import is_alive, my_lease
from pytest_msprof.tuning.loads import Axis, LoadSearch, OneLoad, Seen, make_loads
from pytest_msprof.tuning.plan import Role, TunePlan
from pytest_msprof.tuning.prior import earlier_trials
from pytest_msprof.tuning.proposals import configured
from pytest_msprof.tuning.racing import OPENING, Opening, Race, Rival, opening_of, rival_among, short_of
from pytest_msprof.tuning.ranking import Measured
from pytest_msprof.tuning.samplers import STARTS, Offer, make_sampler
from pytest_msprof.tuning.stopping import reason_to_stop
from pytest_msprof.tuning.trial_log import STOPPED, TrialLog, quiet
from pytest_msprof.tuning.walks import Exhausted

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

__all__ = ["Exhausted", "Proposal", "Spent", "TuneStudy"]

CONFIRMS = "confirms"
"""Before the id of a session: whose confirmation it makes or goes on with."""
ENDED = "ended"
"""The study's attribute that says why a session ended its search."""


class Spent(Exhausted):
    """As many trials were measured, or are being measured, as the plan asks for."""


@dataclass(slots=True)
class Proposal:
    """One configuration to try, alive until it is told."""

    number: int
    """Its place among the accepted proposals; 0 is the default."""
    fields: dict[str, Value]
    trial: optuna.trial.Trial
    asked_at: float = field(default_factory=time.monotonic)
    told: bool = False


class TuneStudy:
    """An Optuna study with the book-keeping that a test session needs.

    Every accepted proposal carries its number, its resolved fields and who works on it; refused
    and interrupted ones are kept as FAIL with the user attribute `interrupted`.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        plan: TunePlan,
        *,
        session_id: str,
        worker: int = 0,
        offer: Offer = lambda *_: None,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        is_alive: Callable[[Mapping[str, Any] | None], bool] = is_alive,
        is_load_side: Callable[[str], bool] = lambda _: False,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan, self.name, self.session_id = plan, name, session_id
        self._storage, self._turn, self._is_alive, self._worker = storage, turn, is_alive, worker
        self._opened_at = time.monotonic()
        direction: Literal["maximize", "minimize"] = "maximize" if plan.maximize else "minimize"
        with self._turn(), quiet():
            self._study = optuna.create_study(
                storage=storage, study_name=name, direction=direction, load_if_exists=True
            )
            self._log = TrialLog(self._study, storage)
            self._log.free_the_dead(is_alive)
            done = len(self._log.trials())
            seed = plan.seed + 7919 * worker
            self._study.sampler = make_sampler(plan.search, seed=seed, plan=plan, done=done, offer=offer)
        self._finalists = Finalists(plan, lambda: earlier_trials(plan, self.attributes.get(PRIOR, ())))
        self._asking = Asking(self._study, self._log, plan, seed=seed, worker=worker, is_load_side=is_load_side)
        self.confirmations = Confirmations(self._study)
        """What the confirming launches found, in this session and earlier ones."""
        self.answered = sum(1 for trial in self._log.finished() if trial.user_attrs.get("session") != session_id)
        """Trials that earlier sessions finished."""
        self._earlier = sum(took for session, took in self._log.seconds().items() if session != session_id)

    # What was found

    @property
    def attributes(self) -> dict[str, Any]:
        """Facts about the study itself."""
        return dict(self._study.user_attrs)

    def set_attribute(self, name: str, value: Value) -> None:
        """Remember a fact about the study itself."""
        self._study.set_user_attr(name, value)

    def settle(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        """Return the attribute *name*, which is *value* where nobody settled it before."""
        with self._turn():
            if name not in self._study.user_attrs:
                self._study.set_user_attr(name, value)
            found: dict[str, Any] = self._study.user_attrs[name]
            return found

    def records(self) -> tuple[TrialRecord, ...]:
        """Return every finished trial, in the order of their numbers."""
        return self._log.records()

    def is_busy(self) -> bool:
        """Say whether another living process measures a trial, or confirms one."""
        leases = [trial.user_attrs.get("lease") for trial in self._log.running()]
        return any(lease != my_lease() and self._is_alive(lease) for lease in (*leases, *self.confirmations.leases()))

    def is_measuring(self, number: int) -> bool:
        """Say whether another living process measures the trial *number*."""
        leases = [trial.user_attrs["lease"] for trial in self._log.running() if trial.user_attrs["number"] == number]
        return any(lease != my_lease() and self._is_alive(lease) for lease in leases)

    def lost(self) -> int:
        """Count the trials of this session whose process died with them."""
        own = [trial for trial in self._log.trials() if trial.user_attrs.get("session") == self.session_id]
        return sum(1 for trial in own if self._log.has_died(trial, self._is_alive))

    def is_spent(self) -> bool:
        """Say whether as many trials are measured, or being measured, as the plan asks for."""
        return len(self._log.accepted()) >= self.plan.n_trials

    def searched(self) -> float:
        """Return the seconds of the budget that are spent: since this session began, and what earlier ones measured.

        Of a session that ended its trials count, however it ended: not the pause until the next one.
        """
        own = self._log.seconds().get(self.session_id, 0.0)  # more than ours where this worker replaces a dead one
        return self._earlier + max(own, time.monotonic() - self._opened_at)

    def ranking(self) -> dict[Role, int]:
        """Return the trials to confirm: the two that are most likely the best feasible ones, and the default."""
        return self._finalists.among(self._log.finished())

    def measured(self, again: Mapping[int, Sequence[float]] = MappingProxyType({})) -> list[Measured]:
        """Return the trials that were measured, as models of the space read them.

        *again* has the objective of further launches, by the number of their trial.
        """
        found = measured_of(self.plan, self._log.finished())
        further = [trial._replace(value=value) for number, trial in found for value in again.get(number, ())]
        return [*(trial for _, trial in found), *further]

    def refused(self) -> list[dict[str, Value]]:
        """Return the proposals that broke a condition of the space, so that nothing was started for them."""
        drawn = [trial for trial in self._log.trials() if "refused" in trial.user_attrs]
        return [configured(self.plan.space, trial.params) for trial in drawn]

    def ruled_out(self) -> tuple[str, ...]:
        """Return what was left out without a start, since a trial that demanded no more ran out of memory."""
        self._asking.edge.learn(self.records())
        return self._asking.edge.describe()

    def to_confirm(self) -> dict[Role, int]:
        """Return the ranked trials by role, each once: a winner or runner-up that is the default is the default.

        Without a winner there is nothing that the default could be compared with.
        """
        ranked = self.ranking()
        if "winner" not in ranked:
            return {}
        return {role: number for role, number in ranked.items() if role == "default" or number != ranked.get("default")}

    def confirming(self) -> str:
        """Return the session whose confirmation this one makes: its own, or an earlier one that it goes on with."""
        return str(self.attributes.get(f"{CONFIRMS}:{self.session_id}", {}).get("session", self.session_id))

    def go_on_confirming(self) -> str:
        """Settle whose confirmation this session makes: where the last one ended in the middle, the rest of that.

        All workers of a session settle on the same.
        """
        unfinished = self.confirmations.unfinished(
            self.to_confirm(), self.plan.confirm, lambda lease: lease != my_lease() and self._is_alive(lease)
        )
        settled = self.settle(f"{CONFIRMS}:{self.session_id}", {"session": unfinished or self.session_id})
        return str(settled["session"])

    def stopped(self) -> str:
        """Say why nothing more will be proposed, empty where the study goes on."""
        return reason_to_stop(self.records(), [trial.user_attrs.get(GAIN) for trial in self._log.finished()])

    def end(self, reason: str) -> None:
        """Remember why this session proposes nothing more: the budget ended, or the search has."""
        ended = {"reason": reason, "trials": len(self._log.finished()), "session": self.session_id}
        if self.attributes.get(ENDED) != ended:
            self.set_attribute(ENDED, ended)

    def why_ended(self) -> str:
        """Say why there are no more trials than there are, empty where more are to come."""
        ended: dict[str, Any] = self.attributes.get(ENDED, {})
        is_now = (ended.get("trials"), ended.get("session")) == (len(self._log.finished()), self.session_id)
        return self.stopped() or (str(ended["reason"]) if is_now else "")

    # Ask and tell

    def ask(self) -> Proposal:
        """Propose a configuration that was not measured before: the default first.

        Raises `Spent` when the trials are used up, by whichever session, and `Exhausted` when the space
        holds nothing new or going on promises nothing.
        """
        with self._turn(), quiet():
            self._log.free_the_dead(lambda lease: lease is None or self._is_alive(lease))
            if self.is_spent():
                raise Spent(f"others measured the rest of {self.plan.n_trials} trials")
            if reason := self.stopped():
                raise Exhausted(reason)
            return self._accept(*self._asking.next())

    def loads(self, confirmed: int | None = None) -> LoadSearch:
        """Return the loads of a new trial, or the one load at which the trial *confirmed* is measured again."""
        plan = self.plan
        if plan.load == "fixed":
            races = confirmed is None and self._is_ours()
            rival = rival_among(plan, self._log.finished()) if races else None
            return Race(plan, rival) if rival else OneLoad(plan, plan.workload)
        known = {record.number: record for record in self.records() if record.load is not None}
        if confirmed is not None:
            found = known[confirmed].load if confirmed in known else None
            return OneLoad(plan, plan.workload if found is None else Axis.of(plan.workload).at(found))
        best = known.get(self.ranking().get("winner", -1))
        return make_loads(plan, start=best.load, to_beat=best.value) if best else make_loads(plan)

    def tell(
        self,
        proposal: Proposal,
        run: Run,
        *,
        load: float | None = None,
        seen: Sequence[Seen] = (),
        first: Run | None = None,
    ) -> dict[str, float]:
        """Report a measurement; returns the metrics. A second report of one proposal is ignored.

        Where the trial tried several loads, *run* is the one that stands for it, *load* says where
        it stood, and *seen* is everything that was measured. *first* is the short run that came before it.
        """
        metrics = self.plan.measure(run)
        if proposal.told:
            return metrics
        judged = self.plan.violations if self._is_ours() else self.plan.tightened
        others = [entry.run.id for entry in seen if entry.run.id != run.id]
        facts: dict[str, Any] = {
            "metrics": metrics,
            "figures": figures_of(run),
            "missed": [name for name, excess in self.plan.violations(metrics).items() if excess > 0],
            "run_ids": [run.id, *others, *([first.id] if first else [])],
            "duration": time.monotonic() - proposal.asked_at,
        }
        if run.session_id == self.session_id:  # else another study measured it, and its service runs no more
            facts |= facts_of_launch(run)
        if (short := short_of(self.plan)) and (opening := opening_of(first or run, short)):
            facts[OPENING] = opening
        if self.plan.load != "fixed":
            facts |= {"load": load, "loads": [[entry.load, entry.metrics, entry.run.id] for entry in seen]}
        constraints = {**judged(metrics), STARTS: -1.0}
        self._finish(proposal, facts, value=metrics[self.plan.objective], constraints=constraints)
        return metrics

    def leave(self, proposal: Proposal, first: Run, opening: Opening, rival: Rival) -> None:
        """Report a trial that ended after the run *first*, a short one, for it was clearly behind *rival*.

        The search learns what the trial would about have come to; nothing else takes that for a measurement.
        """
        if proposal.told:
            return
        proposal.trial.report(rival.estimate(opening, maximize=self.plan.maximize), 0)
        facts = {
            **facts_of_launch(first),
            "behind": rival.why_behind(opening),
            OPENING: opening,
            "run_ids": [first.id],
            "duration": time.monotonic() - proposal.asked_at,
        }
        self._finish(proposal, facts, value=None)

    def fail(
        self, proposal: Proposal, failure: str, reason: str, log_tail: str = "", *, before_load: bool = False
    ) -> None:
        """Report that a configuration could not be measured.

        Our sampler learns from FAIL. Optuna's ignore it and would propose the same region again, so
        they are told the worst value seen, with a violated constraint.
        """
        if proposal.told:
            return
        proposal.trial.set_user_attr("failure", failure)
        facts = {
            "failure": failure,
            "reason": reason,
            "log_tail": log_tail,
            "before_load": before_load,
            "duration": time.monotonic() - proposal.asked_at,
        }
        if self._is_ours():
            self._finish(proposal, facts, value=None)
            return
        broken = dict.fromkeys((STARTS, *self.plan.subject_to), 1.0)
        self._finish(proposal, facts, value=self._log.worst(maximize=self.plan.maximize), constraints=broken)

    def release(self, proposal: Proposal, *, again: bool = False) -> None:
        """Give a proposal back unmeasured, when its test ends before it is told.

        With *again* it is the next to be proposed, as is what a process that died left behind.
        """
        if not proposal.told:
            proposal.told = True
            self._log.refuse(proposal.trial, STOPPED if again else "interrupted")

    def _is_ours(self) -> bool:
        """Say whether the sampler is ours: it learns from crashes, and keeps from the limits what noise asks for."""
        from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

        return isinstance(self._study.sampler, ConstrainedGPSampler)

    def _finish(
        self,
        proposal: Proposal,
        facts: Mapping[str, Any],
        *,
        value: float | None,
        constraints: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        proposal.told = True
        with quiet(), suppress(UpdateFinishedTrialError):  # others took this machine for lost, and measure it anew
            for name, excess in constraints.items():
                proposal.trial.set_constraint(name, excess)
            self._log.finish(proposal.trial, {**facts, "worker": self._worker}, value=value)

    def _accept(self, trial: optuna.trial.Trial, fields: dict[str, Value], number: int | None) -> Proposal:
        """Make *trial* one that counts; its number is written last, so that half of this is nothing."""
        if number is None:
            number = self._log.next_number()
        for name, value in {
            "lease": my_lease(),
            "session": self.session_id,
            "fields": fields,
            "number": number,
        }.items():
            trial.set_user_attr(name, value)
        return Proposal(number, fields, trial)
