"""The trials of a study as Optuna keeps them, read the way the study needs them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_msprof.ids import digest
from pytest_msprof.summary import LoadPoint, TrialRecord
from pytest_msprof.tuning.samplers import STARTS

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

__all__ = ["STOPPED", "TrialLog", "facts_of", "is_accepted", "quiet", "record_of"]

DIED = "its process died"
STOPPED = "its session was stopped"
DEATHS = 3
"""Times that a configuration is tried whose process dies with it."""


class TrialLog:
    """Every trial of *study*: the accepted ones, and those that were refused or given back."""

    def __init__(self, study: optuna.Study, storage: BaseStorage) -> None:
        self._study, self._storage = study, storage
        self._study_id = storage.get_study_id_from_name(study.study_name)

    def trials(self) -> list[FrozenTrial]:
        """Return everything that was ever proposed."""
        return self._study.get_trials(deepcopy=False)

    def accepted(self) -> list[FrozenTrial]:
        """Return what was measured, or is being measured."""
        return [trial for trial in self.trials() if is_accepted(trial)]

    def running(self) -> list[FrozenTrial]:
        """Return what is being measured."""
        return [trial for trial in self.accepted() if not trial.state.is_finished()]

    def finished(self) -> list[FrozenTrial]:
        """Return what was measured, in the order of its numbers."""
        done = [trial for trial in self.accepted() if trial.state.is_finished()]
        return sorted(done, key=lambda trial: int(trial.user_attrs["number"]))

    def records(self) -> tuple[TrialRecord, ...]:
        """Return every finished trial as reports read it, in the order of their numbers."""
        return tuple(map(record_of, self.finished()))

    def seconds(self) -> dict[str, float]:
        """Return how long each session measured: what its trials took, of several workers those of the busiest."""
        found: dict[str, defaultdict[int, float]] = {}
        for trial in self.finished():
            facts = facts_of(trial)
            workers = found.setdefault(str(trial.user_attrs.get("session", "")), defaultdict(float))
            workers[facts.get("worker", 0)] += facts.get("duration") or 0.0
        return {session: max(workers.values()) for session, workers in found.items()}

    def known(self) -> dict[str, FrozenTrial | None]:
        """Return the accepted configurations by digest; None for one that is being measured."""
        known: dict[str, FrozenTrial | None] = {}
        for trial in self.running() + self.finished():
            done = trial.state.is_finished()
            known[digest(trial.user_attrs["fields"])] = trial if done else None
            if trial.user_attrs["number"] == 0:
                known["default"] = trial if done else None
        return known

    def worst(self, *, maximize: bool) -> float | None:
        """Return the worst value so far, None where nothing was measured."""
        values = [trial.value for trial in self.finished() if trial.value is not None]
        return (min(values) if maximize else max(values)) if values else None

    def start(self, given: Mapping[str, Any]) -> optuna.trial.Trial:
        """Start a trial with these parameters.

        It never waits in Optuna's queue, where it could be taken by whoever asks first.
        """
        from optuna.trial import Trial, TrialState, create_trial

        template = create_trial(state=TrialState.RUNNING, system_attrs={"fixed_params": dict(given)})
        return Trial(self._study, self._storage.create_new_trial(self._study_id, template_trial=template))

    def refuse(self, trial: optuna.trial.Trial, reason: str) -> None:
        """Keep a trial as one that was not measured."""
        from optuna.trial import TrialState

        trial.set_user_attr("interrupted", reason)
        with quiet():
            self._study.tell(trial, state=TrialState.FAIL)

    def next_number(self) -> int:
        """Return the number that follows on every one that was given so far."""
        taken = [trial.user_attrs["number"] for trial in self.trials() if "number" in trial.user_attrs]
        return max(taken, default=0) + 1

    def left_behind(self) -> FrozenTrial | None:
        """Return the first configuration that nobody ended, since its process died or its session was stopped.

        One that ended three processes is left alone: it may be what kills them.
        """
        found: dict[int, list[FrozenTrial]] = {}
        for trial in self.trials():
            if "number" in trial.user_attrs and trial.user_attrs.get("interrupted") in (DIED, STOPPED):
                found.setdefault(int(trial.user_attrs["number"]), []).append(trial)
        accepted = {trial.user_attrs["number"] for trial in self.accepted()}
        left = [number for number, tries in found.items() if number not in accepted and _deaths(tries) < DEATHS]
        return found[min(left)][-1] if left else None

    def finish(self, trial: optuna.trial.Trial, facts: Mapping[str, Any], *, value: float | None) -> None:
        """Write down what a trial came to; without a *value* it failed.

        Who dies between the two writes told everything: whoever comes next finishes it.
        """
        trial.set_user_attr("facts", {**facts, "value": value})
        self._study.tell(trial, value, state=_state(facts, value))

    @staticmethod
    def has_died(trial: FrozenTrial, is_alive: Callable[[Mapping[str, Any] | None], bool]) -> bool:
        """Say whether the process of *trial* ended before it told anything."""
        if trial.state.is_finished() or "facts" in trial.user_attrs:
            return trial.user_attrs.get("interrupted") == DIED
        return "number" in trial.user_attrs and not is_alive(trial.user_attrs.get("lease"))

    def free_the_dead(self, is_alive: Callable[[Mapping[str, Any] | None], bool]) -> None:
        """End the trials of processes that are gone: those that were told count, the others are given back."""
        from optuna.trial import TrialState

        for trial in self.trials():
            if trial.state != TrialState.RUNNING or is_alive(trial.user_attrs.get("lease")):
                continue
            facts = facts_of(trial)
            value = facts.get("value")
            if "facts" not in trial.user_attrs:
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
                self._storage.set_trial_user_attr(trial_id, "interrupted", DIED)
            with quiet():
                self._study.tell(trial.number, value, state=_state(facts, value), skip_if_finished=True)


def _deaths(tries: Iterable[FrozenTrial]) -> int:
    return sum(1 for trial in tries if trial.user_attrs["interrupted"] == DIED)


def _state(facts: Mapping[str, Any], value: float | None) -> TrialState:
    from optuna.trial import TrialState

    if facts.get("behind"):
        return TrialState.PRUNED
    return TrialState.FAIL if value is None else TrialState.COMPLETE


def is_accepted(trial: FrozenTrial) -> bool:
    """Say whether a trial stands for a configuration that was measured, or is: not refused, not interrupted."""
    return "number" in trial.user_attrs and "fields" in trial.user_attrs and "interrupted" not in trial.user_attrs


def facts_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return what a trial came to, beside its value; empty before it was told."""
    found: dict[str, Any] = trial.user_attrs.get("facts", {})
    return found


def record_of(trial: FrozenTrial) -> TrialRecord:
    """Return a finished trial as reports read it."""
    facts = facts_of(trial)
    failed = bool(facts.get("failure"))
    missed = facts.get("missed", [name for name, excess in trial.constraints.items() if excess > 0 and name != STARTS])
    behind = facts.get("behind", "")
    state: Any = "failed" if failed else "behind" if behind else "infeasible" if missed else "measured"
    return TrialRecord(
        number=trial.user_attrs["number"],
        fields=trial.user_attrs["fields"],
        state=state,
        value=None if failed or behind else trial.value,
        metrics=facts.get("metrics", {}),
        load=facts.get("load"),
        loads=tuple(_load_point(*entry) for entry in facts.get("loads", ())),
        reason=facts.get("reason", "") or behind or ("misses " + ", ".join(missed) if missed else ""),
        failure=facts.get("failure", ""),
        before_load=facts.get("before_load", False),
        log_tail=facts.get("log_tail", ""),
        duration=facts.get("duration"),
        run_ids=tuple(facts.get("run_ids", ())),
    )


def _load_point(load: float, metrics: dict[str, float], run_id: str = "") -> LoadPoint:
    return LoadPoint(load=load, metrics=metrics, run_id=run_id)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's notes about experimental options away from the user's terminal."""
    import warnings

    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
