"""What an earlier study of the same test found: the first guesses of the one that takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.results import Value
from pytest_msprof.space import SearchSpace

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["best_of", "fitted"]

GUESSES = 2
"""Configurations that an earlier study gives on."""


def best_of(storage: BaseStorage, name: str) -> list[dict[str, Value]]:
    """Return the best configurations of the study *name* that met its constraints."""
    import optuna
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    study = optuna.load_study(study_name=name, storage=storage)
    measured = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if "fields" in trial.user_attrs and max(trial.constraints.values(), default=0.0) <= 0
    ]
    measured.sort(key=lambda trial: trial.value or 0.0, reverse=study.direction == StudyDirection.MAXIMIZE)
    found: list[dict[str, Any]] = [trial.user_attrs["fields"] for trial in measured]
    return found[:GUESSES]


def fitted(space: SearchSpace, fields: dict[str, Value]) -> dict[str, Value] | None:
    """Return *fields* as a configuration of *space*, None where they are none."""
    try:
        resolved = space.resolve(fields)
    except ConfigurationError:
        return None
    missing = [
        entry for entry in space.searched if space.is_active(entry.name, resolved) and entry.name not in resolved
    ]
    return None if missing or space.violations(resolved) else resolved
