"""A walk in the place of a sampler: the study asks the walk, and Optuna keeps the trials."""

from __future__ import annotations

from optuna.samplers import RandomSampler

from pytest_msprof.tuning.walks import Walk

__all__ = ["WalkSampler"]


class WalkSampler(RandomSampler):
    """Carries a walk to where samplers go; a plain Optuna study, which has no walks, gets random points."""

    def __init__(self, walk: Walk, seed: int) -> None:
        super().__init__(seed=seed)
        self.walk = walk
