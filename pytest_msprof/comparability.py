"""Whether two groups of runs measured the same thing, and if not, in what they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pytest_msprof.results import Run

__all__ = ["obstacles", "same_experiment"]

_IDENTITY: dict[str, Callable[[Run], Any]] = {
    "engine": lambda run: run.engine,
    "model digest": lambda run: run.model_digest,
    "device": lambda run: run.device,
    "load generator": lambda run: run.load_generator,
}
_TABLES: dict[str, Callable[[Run], dict[str, Any]]] = {
    "field": lambda run: run.fields,
    "load field": lambda run: run.load_fields,
    "workload": lambda run: run.workload.model_dump(mode="json"),
}


def obstacles(current: Sequence[Run], golden: Sequence[Run]) -> tuple[str, ...]:
    """Return why the two sides cannot be compared, one sentence each; nothing where they can."""
    found = [
        _sentence(name, read, current, golden)
        for name, read in _IDENTITY.items()
        if len({read(run) for run in (*current, *golden)}) > 1
    ]
    for title, table in _TABLES.items():
        for name in dict.fromkeys(key for run in (*golden, *current) for key in table(run)):

            def read(run: Run, name: str = name, table: Callable[[Run], dict[str, Any]] = table) -> str:
                return _shown(table(run)[name]) if name in table(run) else "not set"

            if len({read(run) for run in (*current, *golden)}) > 1:
                found.append(_sentence(f"{title} {name}", read, current, golden))
    if not found and len({run.workload_hash for run in (*current, *golden)}) > 1:
        found.append(_sentence("tokenizer (workload hash)", lambda run: run.workload_hash, current, golden))
    return tuple(found)


def same_experiment(one: Run, other: Run) -> bool:
    """Say whether two runs of one session measured the same thing."""
    return not obstacles([one], [other])


def _sentence(name: str, read: Callable[[Run], Any], current: Sequence[Run], golden: Sequence[Run]) -> str:
    now, then = (" or ".join(sorted({str(read(run)) or "unknown" for run in side})) for side in (current, golden))
    return f"{name} differs: {now} now, {then} in golden"


def _shown(value: Any) -> str:
    """Write a value so that equal ones read equal, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
