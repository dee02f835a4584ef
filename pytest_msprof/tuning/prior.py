"""What an earlier study found: where the model of the one that takes its place begins.

Its winners are not tried again: under another workload or on another machine they are rarely the best.
What carries over is the shape, so the search models how far the new trials are from the old model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.failures import NO_CRASH
from pytest_msprof.results import Value
from pytest_msprof.space import SearchSpace
from pytest_msprof.tuning.proposals import parameters
from pytest_msprof.tuning.trial_log import facts_of, is_accepted

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["Earlier", "earlier_trials", "trials_of_study"]


class Earlier(NamedTuple):
    """A trial of an earlier study, as the new one judges it."""

    parameters: Mapping[str, Any]
    value: float | None
    """The objective; None where the configuration crashed."""
    excess: Mapping[str, float]
    """By how much it missed each limit, relative; ≤ 0 is met."""


def trials_of_study(storage: BaseStorage, name: str) -> list[dict[str, Value]]:
    """Return every trial of the study *name* that tells something: its fields, and its metrics unless it crashed."""
    import optuna

    study = optuna.load_study(study_name=name, storage=storage)
    found: list[dict[str, Any]] = []
    for trial in study.get_trials(deepcopy=False):
        facts = facts_of(trial)
        crashed = bool(facts.get("failure")) and facts["failure"] not in NO_CRASH
        if is_accepted(trial) and trial.state.is_finished() and (crashed or facts.get("metrics")):
            found.append({"fields": trial.user_attrs["fields"], "metrics": None if crashed else facts["metrics"]})
    return found


def earlier_trials(plan: TunePlan, entries: Iterable[Mapping[str, Any]]) -> list[Earlier]:
    """Return the trials that are configurations of the new space, judged by its objective and limits.

    Those that lack one of its metrics are left out.
    """
    found = []
    for entry in entries:
        fields, metrics = _fitted(plan.space, entry["fields"]), entry["metrics"]
        if fields is None:
            continue
        if metrics is None:
            found.append(Earlier(parameters(plan.space, fields), None, {}))
        elif all(name in metrics for name in (plan.objective, *plan.subject_to)):
            found.append(Earlier(parameters(plan.space, fields), metrics[plan.objective], plan.violations(metrics)))
    return found


def _fitted(space: SearchSpace, fields: dict[str, Value]) -> dict[str, Value] | None:
    """Return *fields* as a configuration of *space*, None where they are none.

    A field that is missing was left to the engine, which is a configuration, too: where somebody said
    what the engine does then, it is that.
    """
    try:
        resolved = space.as_the_engine_takes(fields)
    except ConfigurationError:
        return None
    return None if space.violations(resolved) else resolved
