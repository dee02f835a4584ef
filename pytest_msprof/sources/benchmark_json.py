"""JSON files of pytest-benchmark: our runs where they are inside, else its own table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_msprof.errors import StoreError
from pytest_msprof.results import Run
from pytest_msprof.sources.quantities import Quantity
from pytest_msprof.sources.runs import of_run
from pytest_msprof.sources.source import Figures, Source

__all__ = ["is_benchmark_json", "read_benchmark_json"]

STATISTICS = {"mean": "mean", "max": "max", "min": "min", "median": "p50"}


def is_benchmark_json(data: Mapping[str, Any]) -> bool:
    """Say whether pytest-benchmark wrote *data*."""
    return isinstance(data.get("benchmarks"), list) and "machine_info" in data


def read_benchmark_json(path: Path, data: Mapping[str, Any]) -> list[Source]:
    """Read the runs in *data*, or its benchmarks; raises `StoreError` for an entry that is damaged."""
    block = data.get("msprof")
    if isinstance(block, dict) and block.get("runs"):
        return [of_run(_run(path, number, entry), path) for number, entry in enumerate(block["runs"])]
    figures = Figures()
    for number, entry in enumerate(data["benchmarks"]):
        name, values, rounds = _entry(path, number, entry)
        figures.add(Quantity("benchmarks", name, name, "s", 1.0, "lower"), values, count=rounds)
    if not figures.values:
        raise StoreError(f"{path} holds no benchmarks")
    return [Source(path=path, kind="pytest-benchmark", figures=figures)]


def _run(path: Path, number: int, entry: object) -> Run:
    try:
        return Run.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path}, run {number}, {place}: {first['msg']}") from None


def _entry(path: Path, number: int, entry: Any) -> tuple[str, dict[str, float], int]:
    try:
        stats = entry["stats"]
        values = dict(_finite(stats))
        return str(entry["fullname"]), values, int(stats["rounds"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}, benchmark {number} is damaged: {error!r}") from None


def _finite(stats: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for theirs, ours in STATISTICS.items():
        value = float(stats[theirs])
        if not math.isfinite(value):
            raise ValueError(f"{theirs} is {value}")
        yield ours, value
