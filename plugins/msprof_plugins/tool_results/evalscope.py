"""Reading the summaries of `evalscope perf`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msprof_plugins.tool_results.result import ToolResult, load_json, of_figures
from pytest_msprof.errors import LoadError
from pytest_msprof.results import Distribution

__all__ = ["read"]

SUMMARY, PERCENTILES, ARGUMENTS = "benchmark_summary.json", "benchmark_percentile.json", "benchmark_args.json"
MILLI = 1e-3
COLUMNS = {
    "latency": ("Latency (s)", "Avg Latency (s)", 1.0),
    "ttft": ("TTFT (ms)", "Avg TTFT (ms)", MILLI),
    "tpot": ("TPOT (ms)", "Avg TPOT (ms)", MILLI),
    "itl": ("ITL (ms)", "Avg ITL (ms)", MILLI),
}
ROWS = {"min": "min", "50%": "p50", "90%": "p90", "95%": "p95", "99%": "p99", "max": "max"}


def read(path: Path) -> ToolResult:
    """Read the folder of one load, or the summary in it.

    Raises `LoadError` when a file is missing. Where nothing succeeded the tool writes −1 and −1000
    as values: there is none then.
    """
    folder = path if path.is_dir() else path.parent
    told = load_json(folder / SUMMARY, "evalscope", ("Success Requests", "Failed Requests", "Test Duration (s)"))
    completed, arguments = told["Success Requests"], _arguments(folder)
    rates = {
        "request_throughput": told.get("Req Throughput (req/s)"),
        "output_throughput": told.get("Output Throughput (tok/s)"),
    }
    return of_figures(
        "evalscope",
        duration=told["Test Duration (s)"],
        completed=completed,
        failed=told["Failed Requests"],
        metrics=rates if completed else {},
        distributions=_distributions(told, _rows(folder / PERCENTILES)) if completed else {},
        load={
            "model": arguments.get("model"),
            "concurrency": told.get("Concurrency"),
            "request_rate": rate if (rate := told.get("Request Rate (req/s)", -1)) > 0 else None,
            "num_requests": completed + told["Failed Requests"],
        },
    )


def _arguments(folder: Path) -> Mapping[str, Any]:
    return load_json(folder / ARGUMENTS, "evalscope") if (folder / ARGUMENTS).exists() else {}


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        rows: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"evalscope wrote no percentiles to {path}: {error}") from None
    return rows


def _distributions(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> dict[str, Distribution]:
    """Turn the table by its side: a distribution a column."""
    found = {}
    for name, (column, mean, unit) in COLUMNS.items():
        values = {ROWS[row["Percentiles"]]: row.get(column) for row in rows if row["Percentiles"] in ROWS}
        values["mean"] = told.get(mean)
        known = {statistic: float(value) * unit for statistic, value in values.items() if value is not None}
        found[name] = Distribution({"n": float(told["Success Requests"]), **known} if name != "itl" else known)
    return found
