"""The samplers behind `search=`: by name, or any sampler of Optuna's as an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import UnknownName

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["NAMES", "make_sampler"]

NAMES = ("auto", "optuna", "random")
STARTUP = 6


def make_sampler(search: Any, *, seed: int, plan: TunePlan) -> BaseSampler:
    """Return the sampler that *search* means: a name of ours, a class of Optuna's, or an instance.

    Raises `UnknownName` for anything else.
    """
    import optuna

    if isinstance(search, optuna.samplers.BaseSampler):
        return search
    if search in ("auto", "optuna", "TPESampler"):
        startup = min(STARTUP, max(2, plan.n_trials // 2))
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=startup)
    if search in ("random", "RandomSampler"):
        return optuna.samplers.RandomSampler(seed=seed)
    raise UnknownName("search", str(search), NAMES)
