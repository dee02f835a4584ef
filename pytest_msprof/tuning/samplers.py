"""The samplers behind `search=`: by name, from a plugin, or any sampler of Optuna's as an instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import UnknownName

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["BUILT_IN", "Offer", "make_sampler"]

STARTUP = 6
BUILT_IN = {
    "auto": "ConstrainedGPSampler",
    "gp": "ConstrainedGPSampler",
    "optuna": "TPESampler",
    "random": "RandomSampler",
}
"""Names of ours, and the class of Optuna's that is meant; that name will do as well."""

Offer = Callable[[str, int, tuple[str, ...]], Any]
"""Asks plugins for the sampler of a name, a seed and the constrained metrics; None where they have none."""


def make_sampler(
    search: Any, *, seed: int, plan: TunePlan, done: int = 0, offer: Offer = lambda *_: None
) -> BaseSampler:
    """Return the sampler that *search* means: a plugin's, one of ours, or itself where it is one.

    A sampler that keeps its own random numbers starts from *seed* and the number of trials *done*,
    so that a resumed study does not propose its first points again. Raises `UnknownName` for
    anything else.
    """
    import optuna

    found = offer(search, seed + done, tuple(plan.subject_to)) if isinstance(search, str) else search
    if isinstance(found, optuna.samplers.BaseSampler):
        return found
    meant = BUILT_IN.get(str(search), search)
    startup = min(STARTUP, max(2, plan.n_trials // 2))
    if meant == "ConstrainedGPSampler":
        from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

        return ConstrainedGPSampler(seed=seed, n_startup_trials=startup)
    if meant == "TPESampler":
        return optuna.samplers.TPESampler(seed=seed + done, multivariate=True, group=True, n_startup_trials=startup)
    if meant == "RandomSampler":
        return optuna.samplers.RandomSampler(seed=seed + done)
    raise UnknownName("search", str(search), BUILT_IN)
