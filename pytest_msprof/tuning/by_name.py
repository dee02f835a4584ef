"""Samplers of Optuna's and of BoTorch's, by the name of their class."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_msprof.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

__all__ = ["botorch_sampler", "optuna_sampler"]

INSTEAD = {
    "BruteForceSampler": "search='manual' measures everything",
    "GridSampler": "search='brute' makes a grid, search='manual' measures all",
    "PartialFixedSampler": "constant(…) fixes a field",
}
"""Samplers of Optuna's that stop its own loop or need arguments, and what to use in their place."""
NEEDED = {"CmaEsSampler": "cmaes", "GPSampler": "torch"}
"""What a sampler imports only when it draws its first point."""


def optuna_sampler(name: str, *, seed: int, startup: int) -> BaseSampler:
    """Return the sampler of Optuna's with that class name; `tpe` means `TPESampler`.

    Raises `UnknownName` for one that Optuna has not, and `ConfigurationError` for one that cannot be made.
    """
    from optuna import samplers

    known = {found: getattr(samplers, found) for found in samplers.__all__ if found.endswith("Sampler")}
    known = {found: made for found, made in known.items() if not found.startswith("Base")}
    meant = next((found for found in known if found.lower() in (name.lower(), f"{name.lower()}sampler")), None)
    if meant is None:
        raise UnknownName("sampler of optuna", name, known)
    if meant in INSTEAD:
        raise ConfigurationError(f"search='optuna:{meant}' is no search here: {INSTEAD[meant]}")
    if meant in NEEDED and find_spec(NEEDED[meant]) is None:
        raise ConfigurationError(f"search='optuna:{meant}' needs {NEEDED[meant]}: pip install {NEEDED[meant]}")
    wanted = {
        "seed": seed,
        "n_startup_trials": startup,
        "population_size": startup,
        "multivariate": True,
        "group": True,
    }
    accepted = inspect.signature(known[meant].__init__).parameters
    made: BaseSampler = known[meant](**{key: value for key, value in wanted.items() if key in accepted})
    return made


def botorch_sampler(constraints: Sequence[str], *, seed: int, startup: int) -> BaseSampler:
    """Return BoTorch's sampler; raises `ConfigurationError` where it is not installed."""
    try:
        from optuna_integration import BoTorchSampler
    except ImportError:
        raise ConfigurationError(
            "search='botorch' needs BoTorch: pip install optuna-integration botorch (or search='auto', without torch)"
        ) from None

    def excess(trial: FrozenTrial) -> Sequence[float]:
        return [trial.constraints.get(name, 0.0) for name in constraints]

    made: BaseSampler = BoTorchSampler(seed=seed, n_startup_trials=startup, constraints_func=excess)
    return made
