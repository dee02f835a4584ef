"""Several objectives for samplers of Optuna's: what they are asked in is a study of all objectives at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.tuning.goals import Goals
from pytest_msprof.tuning.proposals import suggest
from pytest_msprof.tuning.trial_log import facts_of

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from pytest_msprof.space import SearchSpace

__all__ = ["MARKS", "Asked", "ask_for_the_front", "check_front"]

MARKS = "marks"
"""The attribute of a trial that holds what its sampler noted about it, such as a generation."""


class Asked(NamedTuple):
    """A proposal, and what the sampler wants to find noted about it."""

    parameters: dict[str, Any]
    marks: dict[str, Any]


def ask_for_the_front(sampler: BaseSampler, goals: Goals, space: SearchSpace, trials: Sequence[FrozenTrial]) -> Asked:
    """Return what *sampler* proposes next to find the front of *goals*, after *trials* of a study of their score.

    What crashed counts as the worst of each objective, and what others are measuring stands there as running: TPE
    and Optuna's Gaussian process keep away from it. Nothing is kept between two calls but what stands
    in the trials, so that a study that is resumed goes on.
    """
    study = _beside(sampler, goals, trials)
    suggest(study.ask(), space)
    asked = study.get_trials()[-1]
    return Asked(asked.params, asked.system_attrs)


def check_front(sampler: BaseSampler, goals: Goals, search: str) -> None:
    """Raise `ConfigurationError` for a sampler that cannot have several objectives."""
    try:
        _beside(sampler, goals, ()).ask().suggest_float("any", 0.0, 1.0)
    except ValueError as error:
        raise ConfigurationError(
            f"search={search!r} looks for one objective, but got {list(goals.metrics)}: give them weights, as "
            f"objectives={dict.fromkeys(goals.metrics, 1)}, or take search='auto' or 'optuna:NSGAIISampler' ({error})"
        ) from None


def _beside(sampler: BaseSampler, goals: Goals, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory that holds *trials* with the values of all objectives."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize" if up else "minimize" for up in goals.maximize], sampler=sampler)
    ended = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    seen = [metrics for trial in ended if (metrics := facts_of(trial).get("metrics"))]
    if not seen:
        return study
    ends = zip(goals.metrics, goals.maximize, strict=True)
    worst = {name: (min if up else max)(metrics[name] for metrics in seen) for name, up in ends}
    for trial in trials:
        if trial.state == optuna.trial.TrialState.RUNNING and trial.params:
            study.add_trial(
                optuna.create_trial(state=trial.state, params=trial.params, distributions=trial.distributions)
            )
    for trial in ended:
        told = facts_of(trial).get("metrics", worst)
        study.add_trial(
            optuna.create_trial(
                values=[told[name] for name in goals.metrics],
                params=trial.params,
                distributions=trial.distributions,
                system_attrs={**trial.system_attrs, **trial.user_attrs.get(MARKS, {})},
            )
        )
    return study
