"""The two hooks that `pytest-benchmark compare`, which loads no plugin, can only see here."""

from __future__ import annotations

from pytest_msprof.benchmark_table import pytest_benchmark_group_stats, pytest_benchmark_scale_unit

__all__ = ["pytest_benchmark_group_stats", "pytest_benchmark_scale_unit"]
