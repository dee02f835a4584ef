"""What a study measures next: the default, what was left behind, then what its search proposes."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.space import MOST_COUNTED
from pytest_msprof.tuning.costs import Costs
from pytest_msprof.tuning.memory_edge import MemoryEdge
from pytest_msprof.tuning.plan import TunePlan
from pytest_msprof.tuning.prior import earlier_trials
from pytest_msprof.tuning.proposals import completed, distributions, parameters, suggest, unseen
from pytest_msprof.tuning.samplers import finds_fronts, startup_of
from pytest_msprof.tuning.several import MARKS, ask_for_the_front
from pytest_msprof.tuning.trial_log import TrialLog, facts_of
from pytest_msprof.tuning.walks import Exhausted, Walk

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

__all__ = ["GAIN", "PRIOR", "Asking", "Chosen"]

ATTEMPTS = 20
"""Proposals of the sampler that may be refused or known before a point is drawn by lot."""
TOGETHER = 2
"""Trials that share a service while the space is filled, where a start makes much of a difference."""
PRIOR = "prior"
"""The study's attribute that holds what an earlier one measured."""
GAIN = "gain"
"""The attribute of a trial that holds the improvement which the sampler expected of it."""
MEASURED = "every configuration of the space was measured"
NOT_FOUND = "no further configuration was found that meets the conditions of the space"


class Chosen(NamedTuple):
    """A configuration to measure, and the trial that Optuna keeps of it."""

    trial: optuna.trial.Trial
    fields: dict[str, Value]
    number: int | None = None
    """The number that it has already, None for the next one."""


class Asking:
    """Asks the search of *study* for configurations that are new, and that may be tried."""

    def __init__(
        self,
        study: optuna.Study,
        log: TrialLog,
        plan: TunePlan,
        *,
        seed: int,
        worker: int = 0,
        is_load_side: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._study, self._log, self._plan, self._seed = study, log, plan, seed
        self._costs = Costs(plan.space, is_load_side, worker)
        self._walk: Walk | None = getattr(study.sampler, "walk", None)
        self._taken: Container[str] = ()
        self.edge = MemoryEdge(plan.space, any_load=plan.load == "fixed")
        """What is left out since something that demanded no more ran out of memory."""
        if hasattr(study.sampler, "completed") and hasattr(study.sampler, "whole"):
            study.sampler.completed = self._completed
            study.sampler.whole = distributions(plan.space)

    def next(self) -> Chosen:
        """Choose what comes next; raises `Exhausted` where there is nothing new."""
        known = self._taken = self._known()
        self.edge.learn(self._log.records())
        if "default" not in known:
            return self._default()
        if (left := self._log.left_behind()) is not None:
            return self._resumed(left)
        if self._walk is not None:
            return self._started(parameters(self._plan.space, self._walked(self._walk, known)))
        lots = random.Random(f"{self._seed} {len(known)}")  # noqa: S311 - a search, not a secret
        drawn = unseen(self._plan.space, known, lots, self._is_too_much)
        if drawn is None:
            ended = MEASURED if (self._plan.space.size() or MOST_COUNTED + 1) <= MOST_COUNTED else NOT_FOUND
            raise Exhausted("; not tried: ".join((ended, *self.edge.describe())))
        return self._sampled(known) or self._started(drawn)

    def _known(self) -> dict[str, FrozenTrial | None]:
        """Return what was measured, or is, by digest; what the engine takes for the default is the default."""
        known = self._log.known()
        if "default" in known:
            known.setdefault(digest(self._plan.space.as_the_engine_takes(self._plan.space.default)), known["default"])
        return known

    def _default(self) -> Chosen:
        """Start a trial with the given values and nothing else: what is absent is the engine's.

        The models see it where the engine is known to stand by itself.
        """
        space = self._plan.space
        given = parameters(space, space.as_the_engine_takes(space.default))
        trial = self._log.start(given)
        suggest(trial, space, only=set(given))
        return Chosen(trial, dict(space.default), 0)

    def _started(self, given: Mapping[str, Any]) -> Chosen:
        trial = self._log.start(given)
        return Chosen(trial, suggest(trial, self._plan.space))

    def _resumed(self, left: FrozenTrial) -> Chosen:
        """Choose again what somebody left behind, under the number that it had."""
        trial = self._log.start(left.params)
        trial.set_user_attr(GAIN, left.user_attrs.get(GAIN))
        return Chosen(trial, suggest(trial, self._plan.space), left.user_attrs["number"])

    def _is_too_much(self, fields: Mapping[str, Value]) -> bool:
        """Say whether a configuration demands as much memory as one that ran out of it."""
        return self.edge.crossed(fields) is not None

    def _walked(self, walk: Walk, known: Iterable[str]) -> dict[str, Value]:
        """Return the next point of the walk that may be tried; the others count as known to it."""
        closed = set(known)
        while self._is_too_much(point := walk.next(self._log.records(), closed)):
            closed.add(digest(point))
        return point

    def _completed(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        return completed(self._plan.space, given, self._taken, self._is_too_much if self.edge else None)

    def _sharing(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Complete a candidate to one for the service that runs."""
        return self._completed({**given, **self._costs.running})

    def _sampled(self, known: Mapping[str, FrozenTrial | None]) -> Chosen | None:
        """Return what the sampler proposes, None where it finds nothing that is new and may be tried."""
        from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

        self._turn_to_the_front()
        if isinstance(sampler := self._study.sampler, ConstrainedGPSampler):
            sampler.earlier = sampler.earlier or earlier_trials(self._plan, self._study.user_attrs.get(PRIOR, ()))
            self._count_the_cost(sampler)
        for _ in range(ATTEMPTS):
            trial = self._asked()
            fields = suggest(trial, self._plan.space)
            if self._plan.space.violations(fields) or self._is_too_much(fields):
                trial.set_user_attr("refused", True)
                self._log.refuse(trial, "constraint of the space")
            elif (key := digest(fields)) in known:
                self._answer(trial, known[key])
            else:
                trial.set_user_attr(GAIN, getattr(self._study.sampler, "expected_gain", None))
                return Chosen(trial, fields)
        return None

    def _asked(self) -> optuna.trial.Trial:
        """Ask the sampler; one that knows several objectives is asked about all of them."""
        goals, sampler = self._plan.goals, self._study.sampler
        if goals is None or goals.is_weighted or not finds_fronts(sampler):
            return self._study.ask()
        found = ask_for_the_front(sampler, goals, self._plan.space, self._log.trials())
        trial = self._log.start(found.parameters)
        trial.set_user_attr(MARKS, found.marks)
        return trial

    def _turn_to_the_front(self) -> None:
        """Let the sampler look for another place of the front, where several objectives have no weights.

        Every other time it looks for the best score, which is what the search recommends.
        """
        goals, sampler = self._plan.goals, self._study.sampler
        if goals is None or goals.is_weighted or not hasattr(sampler, "value_of"):
            return
        seen = [metrics for trial in self._log.finished() if (metrics := facts_of(trial).get("metrics"))]
        if len(seen) % 2 == 0:
            sampler.value_of = None
            return
        value = goals.towards(seen, f"{self._plan.seed} {len(seen)}")
        sampler.value_of = lambda trial: value(facts_of(trial)["metrics"])

    def _count_the_cost(self, sampler: ConstrainedGPSampler) -> None:
        """Let the sampler know which trials need no start, where a start makes much of a difference."""
        if not self._costs.can_differ:
            return
        self._costs.learn(self._log.finished())
        counts = self._costs.factor > 1
        sampler.cost, sampler.running = (self._costs.of, self._costs.running) if counts else (None, {})
        is_opening = not sampler.earlier and len(self._log.accepted()) < startup_of(self._plan)
        shares = counts and is_opening and self._costs.served % TOGETHER > 0
        sampler.completed = self._sharing if shares else self._completed

    def _answer(self, trial: optuna.trial.Trial, same: FrozenTrial | None) -> None:
        """Answer a known proposal from the log."""
        if same is None or same.value is None or "metrics" not in facts_of(same):
            self._log.refuse(trial, "measured right now, or without a value")
            return
        for name, value in same.constraints.items():
            trial.set_constraint(name, value)
        trial.set_user_attr("same_as", same.user_attrs.get("number"))
        trial.set_user_attr("facts", facts_of(same))
        self._study.tell(trial, same.value)
