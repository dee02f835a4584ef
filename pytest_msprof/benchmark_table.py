"""How pytest-benchmark's tables show our entries: one table a metric, always in milliseconds.

With a unit chosen per table, two tables of one comparison can end up in different units.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pytest_benchmark_group_stats", "pytest_benchmark_scale_unit"]


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_benchmark_scale_unit(
    config: Any, unit: str, benchmarks: list[dict[str, Any]], best: Any, worst: Any, sort: str
) -> tuple[str, float]:
    """Show times of ours in milliseconds, and everything else as pytest-benchmark would."""
    from pytest_benchmark import plugin

    if unit == "seconds" and all(_is_ours(entry) for entry in benchmarks):
        return "m", 1e3
    original: Any = plugin.pytest_benchmark_scale_unit
    found: tuple[str, float] = original(config, unit, benchmarks, best, worst, sort)
    return found


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_benchmark_group_stats(config: Any, benchmarks: list[dict[str, Any]], group_by: str) -> Any:
    """Group as asked, after naming the unit in the groups of ours."""
    from pytest_benchmark import plugin

    for entry in benchmarks:
        if _is_ours(entry) and entry["group"] in ("output_throughput", "request_throughput"):
            what = "token" if entry["group"] == "output_throughput" else "request"
            entry["group"] = f"{entry['group']}, as time per {what}"
    original: Any = plugin.pytest_benchmark_group_stats
    return original(config, benchmarks, group_by)


def _is_ours(entry: dict[str, Any]) -> bool:
    return {"metric", "run_ids"} <= (entry.get("extra_info") or {}).keys()
