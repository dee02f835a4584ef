"""What `search=` may be: a name, a swarm with its coefficients, a plugin's, or any sampler of Optuna's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import UnknownName

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from pytest_msprof.tuning.plan import TunePlan
    from pytest_msprof.tuning.walks import Walk

__all__ = ["ANYWHERE", "BUILT_IN", "STARTS", "Offer", "finds_fronts", "make_sampler", "startup_of"]

STARTUP = 6
OPTUNA = "optuna:"
STARTS = "starts"
"""The constraint that a crashed configuration violates."""
BUILT_IN = {
    "auto": "ConstrainedGPSampler",
    "gp": "ConstrainedGPSampler",
    "optuna": "TPESampler",
    "random": "RandomSampler",
    "brute": "a grid made from the bounds, as fine as the budget holds",
    "manual": "every configuration of lists",
    "quick": "hill climbing",
    "pso": "a particle swarm",
    "botorch": "BoTorchSampler",
}
"""Names of ours, and what is meant; `optuna:NAME` and the class names of Optuna's samplers will do as well."""
ANYWHERE = ("auto", "gp", "optuna", "random")
"""Names that search every space, with what is always installed."""

Offer = Callable[[str, int, tuple[str, ...]], Any]
"""Asks plugins for the sampler of a name, a seed and the constrained metrics; None where they have none."""


def make_sampler(
    search: Any, *, seed: int, plan: TunePlan, done: int = 0, offer: Offer = lambda *_: None
) -> BaseSampler:
    """Return the sampler that *search* means: a plugin's, one of ours, or itself where it is one.

    A sampler that keeps its own random numbers starts from *seed* and the number of trials *done*,
    so that a resumed study does not propose its first points again. Raises `UnknownName` for
    anything else, and `ConfigurationError` for one that cannot search this space, or its objectives.
    """
    from pytest_msprof.tuning.several import check_front

    made = _made(search, seed=seed, plan=plan, done=done, offer=offer)
    if plan.goals and not plan.goals.is_weighted and finds_fronts(made):
        check_front(made, plan.goals, plan.search_name)
    return made


def startup_of(plan: TunePlan) -> int:
    """Return how many trials fill the space before a model chooses."""
    return min(STARTUP, max(2, plan.n_trials // 2))


def finds_fronts(sampler: BaseSampler) -> bool:
    """Say whether a sampler is asked about several objectives at once: ours, and searches by rule, go by a value."""
    return not hasattr(sampler, "value_of") and not hasattr(sampler, "walk")


def _made(search: Any, *, seed: int, plan: TunePlan, done: int, offer: Offer) -> BaseSampler:
    import optuna

    from pytest_msprof.tuning.by_name import check_sampler

    found = offer(search, seed + done, tuple(plan.subject_to)) if isinstance(search, str) else search
    if isinstance(found, optuna.samplers.BaseSampler):
        check_sampler(found)
        return found
    if (walk := _walk(search, plan)) is not None:
        from pytest_msprof.tuning.walk_sampler import WalkSampler

        return WalkSampler(walk, seed=seed)
    startup = startup_of(plan)
    if search in ("auto", "gp", "ConstrainedGPSampler"):
        from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

        return ConstrainedGPSampler(seed=seed, n_startup_trials=startup)
    return _named(str(search), seed=seed + done, startup=startup, plan=plan)


def _walk(search: Any, plan: TunePlan) -> Walk | None:
    """Return the search by rule that is meant, None where another kind is."""
    from pytest_msprof.tuning.climb import HillClimb
    from pytest_msprof.tuning.grid import brute, manual
    from pytest_msprof.tuning.swarm import ParticleSwarm, Swarm

    if isinstance(search, ParticleSwarm):
        return Swarm(plan, search)
    made: dict[str, Callable[[], Walk]] = {
        "brute": lambda: brute(plan),
        "manual": lambda: manual(plan),
        "quick": lambda: HillClimb(plan),
        "pso": lambda: Swarm(plan, ParticleSwarm()),
    }
    return made[search]() if isinstance(search, str) and search in made else None


def _named(search: str, *, seed: int, startup: int, plan: TunePlan) -> BaseSampler:
    from pytest_msprof.tuning.by_name import botorch_sampler, optuna_sampler

    if search == "botorch":
        return botorch_sampler((*plan.subject_to, STARTS), seed=seed, startup=startup)
    name = BUILT_IN.get(search, search).removeprefix(OPTUNA)
    try:
        return optuna_sampler(name, seed=seed, startup=startup)
    except UnknownName:
        if search.startswith(OPTUNA):
            raise
        raise UnknownName("search", search, (*BUILT_IN, f"{OPTUNA}NAME")) from None
