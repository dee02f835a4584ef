"""Reading the reports of inference-perf."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msprof_plugins.tool_results.result import ToolResult, classify, distribution, load_json, of_figures

__all__ = ["read"]

SUMMARY = "summary_lifecycle_metrics.json"
DISTRIBUTIONS = {
    "ttft": "time_to_first_token",
    "tpot": "time_per_output_token",
    "itl": "inter_token_latency",
    "latency": "request_latency",
}
STATISTICS = {"mean": "mean", "min": "min", "max": "max", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
STATUS = re.compile(r"^(\d{3})\b")


def read(path: Path) -> ToolResult:
    """Read the report of one stage, or the summary in a folder; times are seconds already.

    Raises `LoadError` when the file is missing or is no such report.
    """
    path = path / SUMMARY if path.is_dir() else path
    told = load_json(path, "inference-perf", ("load_summary", "successes", "failures"))
    good, bad, load = told["successes"], told["failures"], told["load_summary"]
    rates, latency = good.get("throughput") or {}, good.get("latency") or {}
    completed = good["count"]
    return of_figures(
        "inference-perf",
        duration=told.get("benchmark_time_seconds") or 0.0,
        completed=completed,
        failed=bad["count"],
        metrics={
            "request_throughput": rates.get("requests_per_sec"),
            "output_throughput": rates.get("output_tokens_per_sec"),
        }
        if completed
        else {},
        distributions={ours: distribution(latency.get(theirs), STATISTICS) for ours, theirs in DISTRIBUTIONS.items()},
        load={
            "model": None,
            "concurrency": load.get("concurrency"),
            "request_rate": None if load.get("concurrency") else load.get("requested_rate"),
            "num_requests": completed + bad["count"],
        },
        errors=_errors(bad.get("by_label") or {}),
    )


def _errors(labels: Mapping[str, Any]) -> dict[str, int]:
    """Return the failures by our classes; labels look like `500 - Internal Server Error`."""
    found: dict[str, int] = {}
    for label, entry in labels.items():
        status = STATUS.match(label)
        name = f"status {status[1]}" if status else classify(label)
        found[name] = found.get(name, 0) + entry["count"]
    return found
