"""From a space to Optuna's parameters, and from a trial's parameters to a configuration."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Collection, Container, Mapping
from typing import TYPE_CHECKING, Any

from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.space import MOST_COUNTED, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

__all__ = [
    "completed",
    "configured",
    "distributions",
    "from_parameter",
    "parameters",
    "suggest",
    "to_parameter",
    "unseen",
]

Refusal = Callable[[Mapping[str, Value]], bool]
"""Says whether a configuration is not to be tried, for what others came to."""
DRAWS = 200
"""Points that are drawn before a space is searched whole, or an endless one counts as exhausted."""


def suggest(trial: Trial, space: SearchSpace, *, only: Collection[str] | None = None) -> dict[str, Value]:
    """Let *trial* choose every active field and return the configuration that follows.

    *only* names the fields to choose, for a default that leaves the others to the engine.
    """
    values: dict[str, Value] = {}
    for entry in space.searched:
        if (only is None or entry.name in only) and space.is_active(entry.name, values):
            values[entry.name] = _chosen(trial, entry)
    return space.resolve(values)


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return what Optuna draws each searched field from, also those of other configurations only."""
    return {entry.name: _distribution(entry) for entry in space.searched}


def completed(
    space: SearchSpace, given: Mapping[str, Any], known: Container[str] = (), is_refused: Refusal | None = None
) -> dict[str, Any] | None:
    """Return what Optuna would store of a trial that gets the parameters *given*: those of active fields.

    None where no trial may get them: a condition of the space is broken, or the configuration that
    follows is *known* or refused. Where nothing depends on anything, different parameters are different configurations.
    """
    if is_refused is None and not space.where and not any(entry.when or entry.following for entry in space):
        return dict(given)
    values: dict[str, Value] = {}
    for entry in space.searched:
        if space.is_active(entry.name, values):
            if entry.name not in given:
                return None
            values[entry.name] = from_parameter(entry, given[entry.name])
    resolved = space.resolve(values)
    if not _is_fresh(space, resolved, known, is_refused):
        return None
    return {name: given[name] for name in values}


def configured(space: SearchSpace, given: Mapping[str, Any]) -> dict[str, Value]:
    """Return the configuration of a trial whose parameters Optuna stores as *given*."""
    return space.resolve({name: from_parameter(space[name], value) for name, value in given.items() if name in space})


def unseen(
    space: SearchSpace, known: Container[str], generator: random.Random, is_refused: Refusal | None = None
) -> dict[str, Any] | None:
    """Draw a configuration that is neither *known* by its digest nor refused, as Optuna stores it.

    None where none was found.
    """
    drawn = (_drawn(space, generator) for _ in range(DRAWS))
    chosen = next((found for found in drawn if _is_fresh(space, found, known, is_refused)), None)
    if chosen is None and (space.size() or MOST_COUNTED + 1) <= MOST_COUNTED:
        rest = [found for found in space.configurations() if _is_fresh(space, found, known, is_refused)]
        chosen = generator.choice(rest) if rest else None
    return None if chosen is None else parameters(space, chosen)


def _is_fresh(
    space: SearchSpace, values: Mapping[str, Value], known: Container[str], is_refused: Refusal | None
) -> bool:
    if digest(values) in known or space.violations(values):
        return False
    return is_refused is None or not is_refused(values)


def parameters(space: SearchSpace, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the configuration *values* as Optuna stores it."""
    return {name: to_parameter(space[name], value) for name, value in space.parameters(values).items()}


def _drawn(space: SearchSpace, generator: random.Random) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for entry in space.searched:
        if space.is_active(entry.name, values):
            values[entry.name] = entry.from_unit(generator.random())
    return space.resolve(values)


def _chosen(trial: Trial, entry: OptimizerConfigField) -> Value:
    return from_parameter(entry, _suggested(trial, entry))


def _suggested(trial: Trial, entry: OptimizerConfigField) -> Any:
    """Let *trial* draw from the field's distribution."""
    found: Any = _distribution(entry)
    if not hasattr(found, "low"):
        return trial.suggest_categorical(entry.name, found.choices)
    draw: Any = trial.suggest_int if isinstance(found.low, int) else trial.suggest_float
    return draw(entry.name, found.low, found.high, log=found.log)


def _distribution(entry: OptimizerConfigField) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    options = entry.options
    if options is None and entry.dtype == "int":
        return IntDistribution(math.ceil(entry.min), math.floor(entry.max), log=entry.log)
    if options is None:
        return FloatDistribution(entry.min, entry.max, log=entry.log)
    if entry.dtype == "range":
        return IntDistribution(0, len(options) - 1)
    return CategoricalDistribution([to_parameter(entry, option) for option in options])


def to_parameter(entry: OptimizerConfigField, value: Value) -> Any:
    """Return *value* as Optuna stores it: the place of a step, JSON for a list or an object."""
    if entry.dtype == "range" and entry.options is not None:
        return entry.options.index(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def from_parameter(entry: OptimizerConfigField, parameter: Any) -> Value:
    """Return the value that Optuna stores as *parameter*."""
    options = entry.options
    if options is None:
        return parameter
    if entry.dtype == "range":
        return options[parameter]
    return next(option for option in options if _same(to_parameter(entry, option), parameter))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
