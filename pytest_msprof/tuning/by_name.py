"""Samplers of Optuna's and of BoTorch's: by the name of their class, and which of them are no search here."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_msprof.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

__all__ = ["botorch_sampler", "check_sampler", "optuna_sampler"]

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


def check_sampler(sampler: BaseSampler) -> None:
    """Raise `ConfigurationError` for a sampler that stops Optuna's own loop, also behind one that fixes parameters."""
    from optuna import samplers

    inner = getattr(sampler, "_base_sampler", sampler)  # of a PartialFixedSampler, which is a search if that one is
    if isinstance(inner, samplers.BruteForceSampler | samplers.GridSampler):
        name = next(kind.__name__ for kind in type(inner).__mro__ if kind.__name__ in INSTEAD)
        raise ConfigurationError(f"search={name}(…) is no search here: {INSTEAD[name]}")


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
