"""The two hooks that `pytest-benchmark compare`, which loads no plugin, can only see here.

It calls them as functions and needs an answer, so what ours leave to others goes to its own.
"""

from __future__ import annotations

from typing import Any

from pytest_benchmark import plugin

from pytest_msprof import benchmark_table

__all__ = ["pytest_benchmark_group_stats", "pytest_benchmark_scale_unit"]


def pytest_benchmark_scale_unit(config: Any, unit: str, benchmarks: list[Any], best: Any, worst: Any, sort: str) -> Any:
    """Show our times in milliseconds."""
    ours = benchmark_table.pytest_benchmark_scale_unit(unit, benchmarks)
    return ours or plugin.pytest_benchmark_scale_unit(config, unit, benchmarks, best, worst, sort)


def pytest_benchmark_group_stats(config: Any, benchmarks: Any, group_by: str) -> Any:
    """Name the unit in our groups."""
    listed = list(benchmarks)
    benchmark_table.pytest_benchmark_group_stats(listed)
    return plugin.pytest_benchmark_group_stats(config, listed, group_by)
