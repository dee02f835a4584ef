"""Searching an engine's parameters: plans, studies and trials. The only package that knows optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_msprof.tuning.plan import Slot, TunePlan

if TYPE_CHECKING:
    from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

__all__ = ["ConstrainedGPSampler", "Slot", "TunePlan"]


def __getattr__(name: str) -> Any:
    """Import Optuna only where a study is opened."""
    if name != "ConstrainedGPSampler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_msprof.tuning.gp_sampler import ConstrainedGPSampler

    return ConstrainedGPSampler
