"""Telling by its names and keys which load generator wrote a file or folder."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["recognise"]

BY_NAME = {
    "benchmarks.json": "guidellm",
    "profile_export.jsonl": "aiperf",
    "profile_export_aiperf.json": "aiperf",
    "benchmark_summary.json": "evalscope",
    "summary_lifecycle_metrics.json": "inference_perf",
    "profile_export.json": "genai_perf",
}
DETAILS = "*_details.jsonl"
BY_KEYS = (
    ("sglang", {"sharegpt_output_len", "random_input_len", "duration"}),
    ("vllm", {"endpoint_type", "request_rate", "duration"}),
    ("guidellm", {"metadata", "benchmarks", "config"}),
    ("inference_perf", {"load_summary", "successes", "failures"}),
    ("genai_perf", {"experiments", "service_kind"}),
)


def recognise(path: Path) -> str | None:
    """Return the tool that wrote *path*, None where nobody known did."""
    if path.is_dir():
        found = next((tool for name, tool in BY_NAME.items() if (path / name).is_file()), None)
        return found or ("ais_bench" if next(path.rglob(DETAILS), None) else None)
    if path.name in BY_NAME:
        return BY_NAME[path.name]
    if path.match(DETAILS):
        return "ais_bench"
    keys = _keys(path) if path.suffix in {".json", ".jsonl"} else set()
    return next((tool for tool, needed in BY_KEYS if needed <= keys), None)


def _keys(path: Path) -> set[str]:
    """Return the keys of a JSON object, or of the first line of many."""
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.readline() if path.suffix == ".jsonl" else file.read())
    except (OSError, ValueError):
        return set()
    return set(found) if isinstance(found, dict) else set()
