"""Searching an engine's parameters: plans, studies and trials. The only package that knows optuna."""

from __future__ import annotations

from pytest_msprof.tuning.plan import Slot, TunePlan

__all__ = ["Slot", "TunePlan"]
