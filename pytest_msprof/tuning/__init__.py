"""Searching an engine's parameters: plans, studies and trials. The only package that knows optuna."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_msprof.tuning.plan import Slot, TunePlan

if TYPE_CHECKING:
    from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler
    from pytest_msprof.tuning.swarm import ParticleSwarm

__all__ = ["ConstrainedGPSampler", "ParticleSwarm", "Slot", "TunePlan"]

LAZY = {
    "ConstrainedGPSampler": "pytest_msprof.tuning.gp_sampler",
    "ParticleSwarm": "pytest_msprof.tuning.swarm",
}


def __getattr__(name: str) -> Any:
    """Import Optuna and numpy only where a study is opened."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)
