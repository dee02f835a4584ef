"""What an earlier study found: where the model of the one that takes its place begins.

Its winners are not tried again: under another workload or on another machine they are rarely the best.
What carries over is the shape, so the search models how far the new trials are from the old model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pytest_msprof.errors import ConfigurationError, MetricMissing
from pytest_msprof.failures import NO_CRASH
from pytest_msprof.results import Value
from pytest_msprof.space import SearchSpace
from pytest_msprof.tuning.encoding import Cube
from pytest_msprof.tuning.proposals import parameters
from pytest_msprof.tuning.surrogate import Surrogate, scores
from pytest_msprof.tuning.trial_log import facts_of, is_accepted

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["Earlier", "earlier_trials", "model_before", "says_something", "trials_of_study"]

ENOUGH = 6
"""Measured trials of an earlier study from which its model says more than nothing."""
SURELY_MET = -0.9
"""Excess of a limit of which an earlier trial says nothing: far from it, and finite on a logarithmic scale."""


class Earlier(NamedTuple):
    """A trial of an earlier study, as the new one judges it."""

    parameters: Mapping[str, Any]
    value: float | None
    """The objective; None where the configuration crashed."""
    excess: Mapping[str, float]
    """By how much it missed each limit, relative; ≤ 0 is met."""


def trials_of_study(storage: BaseStorage, name: str) -> list[dict[str, Value]]:
    """Return every trial of the study *name* that tells something: its fields, and what was measured unless it crashed.

    That is everything its run had, since the study that follows may ask for something else.
    """
    import optuna

    study = optuna.load_study(study_name=name, storage=storage)
    found: list[dict[str, Any]] = []
    for trial in study.get_trials(deepcopy=False):
        facts = facts_of(trial)
        crashed = bool(facts.get("failure")) and facts["failure"] not in NO_CRASH
        if is_accepted(trial) and trial.state.is_finished() and (crashed or facts.get("metrics")):
            measured = None if crashed else {**facts.get("figures", {}), **facts["metrics"]}
            found.append({"fields": trial.user_attrs["fields"], "metrics": measured})
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
            continue
        with suppress(MetricMissing):
            judged = plan.judged(metrics)
            found.append(Earlier(parameters(plan.space, fields), judged[plan.objective], plan.violations(judged)))
    return found


def says_something(earlier: Sequence[Earlier], cube: Cube) -> bool:
    """Say whether enough of the *earlier* trials were measured in the space of *cube*."""
    return len(_measured_in(cube, earlier)) >= ENOUGH


def model_before(earlier: Sequence[Earlier], cube: Cube, names: Sequence[str], *, maximize: bool) -> Surrogate | None:
    """Return the model of the *earlier* trials and the limits *names*; None where they are too few to say anything."""
    measured = _measured_in(cube, earlier)
    told = np.array([trial.value for trial in measured], float)
    if len(measured) < ENOUGH or np.min(told) <= 0:
        return None
    crashed = [trial for trial in earlier if trial.value is None and cube.holds(trial.parameters)]
    excess = np.array([[trial.excess.get(name, -1.0) for name in names] for trial in measured], float)
    excess = np.maximum(excess.reshape(len(measured), len(names)), SURELY_MET)
    points, taught = (
        cube.encode([trial.parameters for trial in trials]) for trials in (measured, [*measured, *crashed])
    )
    alive = np.array([1.0] * len(measured) + [-1.0] * len(crashed))
    return Surrogate.fit(points, scores(told, maximize=maximize), excess, taught, alive)


def _measured_in(cube: Cube, earlier: Sequence[Earlier]) -> list[Earlier]:
    return [trial for trial in earlier if trial.value is not None and cube.holds(trial.parameters)]


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
