"""The trials of studies that were made earlier, read without their test."""

from __future__ import annotations

from functools import partial

from pytest_msprof.errors import UnknownName
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.storage import Shelf, begun
from pytest_msprof.tuning.trial_log import is_accepted, record_of

__all__ = ["studies", "trials_of"]


def studies(shelf: Shelf) -> dict[str, str]:
    """Return the newest study of each case: case → name."""
    found: dict[str, str] = {}
    for name in sorted(shelf.names(), key=partial(begun, shelf)):
        found[str(shelf.facts(name).get("case", name))] = name
    return found


def trials_of(shelf: Shelf, case: str) -> list[TrialRecord]:
    """Return the finished trials of the newest study of *case*, in their order; raises `UnknownName` without one."""
    import optuna

    known = studies(shelf)
    if case not in known:
        raise UnknownName("study", case, known)
    study = optuna.load_study(study_name=known[case], storage=shelf.storage(known[case]))
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished() and is_accepted(trial)]
    return sorted(map(record_of, finished), key=lambda record: record.number)
