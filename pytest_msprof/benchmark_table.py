"""How pytest-benchmark's tables show our entries: one table a metric, always in milliseconds.

With a unit chosen per table, two tables of one comparison can end up in different units. What is
not ours is left to others: pytest-benchmark takes the first answer, and a project may have its own.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pytest_benchmark_group_stats", "pytest_benchmark_scale_unit"]


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_benchmark_scale_unit(unit: str, benchmarks: list[dict[str, Any]]) -> tuple[str, float] | None:
    """Show times of ours in milliseconds."""
    return ("m", 1e3) if unit == "seconds" and all(map(_is_ours, benchmarks)) else None


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_benchmark_group_stats(benchmarks: list[dict[str, Any]]) -> None:
    """Name the unit in the groups of ours."""
    for entry in benchmarks:
        if _is_ours(entry) and entry["group"] in ("output_throughput", "request_throughput"):
            what = "token" if entry["group"] == "output_throughput" else "request"
            entry["group"] = f"{entry['group']}, as time per {what}"


def _is_ours(entry: dict[str, Any]) -> bool:
    return {"metric", "run_ids"} <= (entry.get("extra_info") or {}).keys()
