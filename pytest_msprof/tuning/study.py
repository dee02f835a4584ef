"""A study: asks for configurations, remembers what came of them, and survives interruption."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_msprof.ids import digest
from pytest_msprof.results import Run, Value
from pytest_msprof.summary import LoadPoint, TrialRecord
from pytest_msprof.tuning.confirmations import Confirmations
from pytest_msprof.tuning.leases import is_alive, my_lease
from pytest_msprof.tuning.loads import Axis, LoadSearch, OneLoad, Seen, make_loads
from pytest_msprof.tuning.plan import ROLES, Role, TunePlan
from pytest_msprof.tuning.prior import fitted
from pytest_msprof.tuning.proposals import completed, parameters, suggest, unseen
from pytest_msprof.tuning.ranking import Measured, ranked
from pytest_msprof.tuning.samplers import STARTS, Offer, make_sampler
from pytest_msprof.tuning.stopping import reason_to_stop
from pytest_msprof.tuning.walks import Exhausted, Walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

__all__ = ["Exhausted", "Proposal", "TuneStudy", "is_accepted", "record_of"]

ATTEMPTS = 20
"""Proposals of the sampler that may be refused or known before a point is drawn by lot."""
PRIOR = "prior"
"""The study's attribute that holds what an earlier one found best."""
GAIN = "gain"
"""The attribute of a trial that holds the improvement which the sampler expected of it."""


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
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan, self.name, self.session_id = plan, name, session_id
        self._storage, self._turn, self._is_alive = storage, turn, is_alive
        self.opened_at = time.monotonic()
        direction: Literal["maximize", "minimize"] = "maximize" if plan.maximize else "minimize"
        with self._turn(), _quiet():
            self._study = optuna.create_study(
                storage=storage, study_name=name, direction=direction, load_if_exists=True
            )
            self._free_the_dead()
            done = len(self._trials())
            seed = plan.seed + 7919 * worker
            self._random = random.Random(seed + done)  # noqa: S311 - a search, not a secret
            self._study.sampler = make_sampler(plan.search, seed=seed, plan=plan, done=done, offer=offer)
            self._walk: Walk | None = getattr(self._study.sampler, "walk", None)
        self._ranking: dict[Role, int] = {}
        self._ranked_of = -1
        self._taken: Container[str] = ()
        if hasattr(self._study.sampler, "completed"):
            self._study.sampler.completed = self._completed
        self.confirmations = Confirmations(self._study)
        """What the confirming launches found, in this session and earlier ones."""
        self.answered = sum(1 for trial in self._finished() if trial.user_attrs.get("session") != session_id)
        """Trials that earlier sessions finished."""

    # What was found

    @property
    def attributes(self) -> dict[str, Any]:
        """Facts about the study itself."""
        return dict(self._study.user_attrs)

    def set_attribute(self, name: str, value: Value) -> None:
        """Remember a fact about the study itself."""
        self._study.set_user_attr(name, value)

    def records(self) -> tuple[TrialRecord, ...]:
        """Return every finished trial, in the order of their numbers."""
        return tuple(sorted((record_of(trial) for trial in self._finished()), key=lambda record: record.number))

    def is_busy(self) -> bool:
        """Say whether another living process measures a trial, or confirms one."""
        leases = [trial.user_attrs.get("lease") for trial in self._running()]
        return any(lease != my_lease() and self._is_alive(lease) for lease in (*leases, *self.confirmations.leases()))

    def is_spent(self) -> bool:
        """Say whether as many trials are measured, or being measured, as the plan asks for."""
        return len(self._accepted()) >= self.plan.n_trials

    def ranking(self) -> dict[Role, int]:
        """Return the trials to confirm: the two that are most likely the best feasible ones, and the default."""
        finished = self._finished()
        if len(finished) != self._ranked_of:
            self._ranking, self._ranked_of = self._rank(finished), len(finished)
        return dict(self._ranking)

    def _rank(self, finished: Sequence[FrozenTrial]) -> dict[Role, int]:
        known = [trial for trial in finished if trial.value is not None and not _facts(trial).get("failure")]
        trials = [
            Measured(
                trial.params, trial.distributions, trial.value or 0.0, self.plan.violations(_facts(trial)["metrics"])
            )
            for trial in known
        ]
        best = [known[place].user_attrs["number"] for place in ranked(trials, maximize=self.plan.maximize)]
        found: dict[Role, int] = dict(zip(ROLES[:2], best, strict=False))
        if any(trial.user_attrs["number"] == 0 for trial in finished):
            found["default"] = 0
        return found

    def to_confirm(self) -> dict[Role, int]:
        """Return the ranked trials by role, each once: a winner or runner-up that is the default is the default."""
        ranked = self.ranking()
        return {role: number for role, number in ranked.items() if role == "default" or number != ranked.get("default")}

    def stopped(self) -> str:
        """Say why nothing more will be proposed, empty where the study goes on."""
        finished = sorted(self._finished(), key=lambda trial: int(trial.user_attrs["number"]))
        return reason_to_stop(self.records(), [trial.user_attrs.get(GAIN) for trial in finished])

    # Ask and tell

    def ask(self) -> Proposal:
        """Propose a configuration that was not measured before: the default first.

        Raises `Exhausted` when the space holds nothing new, and when going on promises nothing.
        """
        with self._turn(), _quiet():
            if reason := self.stopped():
                raise Exhausted(reason)
            known = self._taken = self._known()
            if "default" not in known:
                return self._accept(*self._default_trial(), default=True)
            if self._walk is not None:
                point = self._walk.next(self.records(), known)
                trial = self._started(parameters(self.plan.space, point))
                return self._accept(trial, suggest(trial, self.plan.space))
            drawn = unseen(self.plan.space, known, self._random)
            if drawn is None:
                raise Exhausted("every configuration of the space was measured")
            if (guess := self._guess(known)) is not None:
                trial = self._started(parameters(self.plan.space, guess))
                return self._accept(trial, suggest(trial, self.plan.space))
            for _ in range(ATTEMPTS):
                trial = self._study.ask()
                fields = suggest(trial, self.plan.space)
                if self.plan.space.violations(fields):
                    trial.set_user_attr("refused", True)
                    self._refuse(trial, "constraint of the space")
                elif (key := digest(fields)) in known:
                    self._answer(trial, known[key])
                else:
                    trial.set_user_attr(GAIN, getattr(self._study.sampler, "expected_gain", None))
                    return self._accept(trial, fields)
            trial = self._started(drawn)
            return self._accept(trial, suggest(trial, self.plan.space))

    def _completed(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        return completed(self.plan.space, given, self._taken)

    def _guess(self, known: Container[str]) -> dict[str, Value] | None:
        """Return what an earlier study found best and this one did not try, None where there is no such thing."""
        guesses = [fitted(self.plan.space, fields) for fields in self.attributes.get(PRIOR, ())]
        return next((guess for guess in guesses if guess is not None and digest(guess) not in known), None)

    def loads(self, confirmed: int | None = None) -> LoadSearch:
        """Return the loads of a new trial, or the one load at which the trial *confirmed* is measured again."""
        plan = self.plan
        if plan.load == "fixed":
            return OneLoad(plan, plan.workload)
        known = {record.number: record.load for record in self.records() if record.load is not None}
        if confirmed is not None:
            found = known.get(confirmed)
            return OneLoad(plan, plan.workload if found is None else Axis.of(plan.workload).at(found))
        return make_loads(plan, start=known.get(self.ranking().get("winner", -1)))

    def tell(
        self, proposal: Proposal, run: Run, *, load: float | None = None, seen: Sequence[Seen] = ()
    ) -> dict[str, float]:
        """Report a measurement; returns the metrics. A second report of one proposal is ignored.

        Where the trial tried several loads, *run* is the one that stands for it, *load* says where
        it stood, and *seen* is everything that was measured.
        """
        metrics = self.plan.measure(run)
        if proposal.told:
            return metrics
        for name, excess in self.plan.tightened(metrics).items():
            proposal.trial.set_constraint(name, excess)
        proposal.trial.set_constraint(STARTS, -1.0)
        others = [entry.run.id for entry in seen if entry.run.id != run.id]
        facts: dict[str, Any] = {
            "metrics": metrics,
            "missed": [name for name, excess in self.plan.violations(metrics).items() if excess > 0],
            "run_ids": [run.id, *others],
            "duration": time.monotonic() - proposal.asked_at,
        }
        if self.plan.load != "fixed":
            facts |= {"load": load, "loads": [[entry.load, entry.metrics] for entry in seen]}
        self._finish(proposal, facts, value=metrics[self.plan.objective])
        return metrics

    def fail(self, proposal: Proposal, failure: str, reason: str, log_tail: str = "") -> None:
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
            "duration": time.monotonic() - proposal.asked_at,
        }
        from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

        if isinstance(self._study.sampler, ConstrainedGPSampler):
            self._finish(proposal, facts, value=None)
            return
        proposal.trial.set_constraint(STARTS, 1.0)
        for name in self.plan.subject_to:
            proposal.trial.set_constraint(name, 1.0)
        self._finish(proposal, facts, value=self._worst())

    def release(self, proposal: Proposal) -> None:
        """Give a proposal back unmeasured, when its test ends before it is told."""
        if not proposal.told:
            proposal.told = True
            self._refuse(proposal.trial, "interrupted")

    def _finish(self, proposal: Proposal, facts: Mapping[str, Any], *, value: float | None) -> None:
        from optuna.trial import TrialState

        proposal.told = True
        proposal.trial.set_user_attr("facts", dict(facts))
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        with _quiet():
            self._study.tell(proposal.trial, value, state=state)

    def _accept(self, trial: optuna.trial.Trial, fields: dict[str, Value], *, default: bool = False) -> Proposal:
        taken = [other.user_attrs["number"] for other in self._trials() if "number" in other.user_attrs]
        number = 0 if default else max(taken, default=0) + 1
        accepted = {"lease": my_lease(), "session": self.session_id, "number": number, "fields": fields}
        for name, value in accepted.items():
            trial.set_user_attr(name, value)
        return Proposal(number, fields, trial)

    def _default_trial(self) -> tuple[optuna.trial.Trial, dict[str, Value]]:
        """Start a trial with the given values and nothing else: what is absent is the engine's."""
        space = self.plan.space
        given = parameters(space, space.default)
        trial = self._started(given)
        return trial, suggest(trial, space, only=set(given))

    def _started(self, given: Mapping[str, Any]) -> optuna.trial.Trial:
        """Start a trial with these parameters.

        It never waits in Optuna's queue, where it could be taken by whoever asks first.
        """
        from optuna.trial import Trial, TrialState, create_trial

        template = create_trial(state=TrialState.RUNNING, system_attrs={"fixed_params": dict(given)})
        study_id = self._storage.get_study_id_from_name(self.name)
        return Trial(self._study, self._storage.create_new_trial(study_id, template_trial=template))

    def _answer(self, trial: optuna.trial.Trial, same: FrozenTrial | None) -> None:
        """Answer a known proposal from the log."""
        if same is None or same.value is None:
            self._refuse(trial, "measured right now, or without a value")
            return
        for name, value in same.constraints.items():
            trial.set_constraint(name, value)
        trial.set_user_attr("same_as", same.user_attrs.get("number"))
        self._study.tell(trial, same.value)

    def _refuse(self, trial: optuna.trial.Trial, reason: str) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr("interrupted", reason)
        with _quiet():
            self._study.tell(trial, state=TrialState.FAIL)

    def _known(self) -> dict[str, FrozenTrial | None]:
        """Return the accepted configurations by digest; None for one that is being measured."""
        known: dict[str, FrozenTrial | None] = {}
        for trial in self._running() + self._finished():
            done = trial.state.is_finished()
            known[digest(trial.user_attrs["fields"])] = trial if done else None
            if trial.user_attrs["number"] == 0:
                known["default"] = trial if done else None
        return known

    def _worst(self) -> float | None:
        values = [trial.value for trial in self._finished() if trial.value is not None]
        return (min(values) if self.plan.maximize else max(values)) if values else None

    def _free_the_dead(self) -> None:
        """Give back the trials of processes that are gone."""
        from optuna.trial import TrialState

        study_id = self._storage.get_study_id_from_name(self.name)
        for trial in self._trials():
            if trial.state == TrialState.RUNNING and not self._is_alive(trial.user_attrs.get("lease")):
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                self._storage.set_trial_user_attr(trial_id, "interrupted", "its process died")
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _running(self) -> list[FrozenTrial]:
        return [trial for trial in self._accepted() if not trial.state.is_finished()]

    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in self._accepted() if trial.state.is_finished()]

    def _accepted(self) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if is_accepted(trial)]


def is_accepted(trial: FrozenTrial) -> bool:
    """Say whether a trial stands for a configuration that was measured, or is: not refused, not interrupted."""
    return "number" in trial.user_attrs and "fields" in trial.user_attrs and "interrupted" not in trial.user_attrs


def _facts(trial: FrozenTrial) -> dict[str, Any]:
    found: dict[str, Any] = trial.user_attrs.get("facts", {})
    return found


def record_of(trial: FrozenTrial) -> TrialRecord:
    """Return a finished trial as reports read it."""
    facts = _facts(trial)
    failed = bool(facts.get("failure"))
    missed = facts.get("missed", [name for name, excess in trial.constraints.items() if excess > 0 and name != STARTS])
    state: Any = "failed" if failed else "infeasible" if missed else "measured"
    return TrialRecord(
        number=trial.user_attrs["number"],
        fields=trial.user_attrs["fields"],
        state=state,
        value=None if failed else trial.value,
        metrics=facts.get("metrics", {}),
        load=facts.get("load"),
        loads=tuple(LoadPoint(load=load, metrics=metrics) for load, metrics in facts.get("loads", ())),
        reason=facts.get("reason", "") or ("misses " + ", ".join(missed) if missed else ""),
        failure=facts.get("failure", ""),
        log_tail=facts.get("log_tail", ""),
        duration=facts.get("duration"),
        run_ids=tuple(facts.get("run_ids", ())),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's notes about experimental options away from the user's terminal."""
    import warnings

    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
