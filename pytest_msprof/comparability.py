"""Whether two groups of runs measured the same thing, and if not, in what they differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pytest_msprof.results import Run

__all__ = ["is_meant", "obstacles", "same_experiment"]

ABSENT = "not set"


def obstacles(current: Sequence[Run], golden: Sequence[Run], across: Collection[str] = ()) -> tuple[str, ...]:
    """Return why the two sides cannot be compared, one sentence each; nothing where they can.

    What *across* names (`engine`, `dtype`, or all of them by `field`) differs on purpose.
    """
    now, then = [_facts(run) for run in current], [_facts(run) for run in golden]
    names = dict.fromkeys(name for facts in (*then, *now) for name in facts)
    differing = [name for name in names if len({facts.get(name) for facts in (*now, *then)}) > 1]
    if not differing and len({run.workload_hash for run in (*current, *golden)}) > 1:
        return ("the workload hash differs though the workload does not: the prompts came from another tokenizer",)
    return tuple(
        f"{name} differs: {_values(name, now)} now, {_values(name, then)} in golden"
        for name in differing
        if not is_meant(name, across)
    )


def is_meant(name: str, across: Collection[str]) -> bool:
    """Say whether *across* names the fact *name*: whole, or by its first or last words."""
    return any(name == words or name.startswith(f"{words} ") or name.endswith(f" {words}") for words in across)


def same_experiment(one: Run, other: Run) -> bool:
    """Say whether two runs of one session measured the same thing."""
    return not obstacles([one], [other])


def _facts(run: Run) -> dict[str, str]:
    """Return what must be equal, by the name under which a user knows it."""
    return {
        "engine": run.engine,
        "model digest": run.model_digest,
        "device": run.device,
        "load generator": run.load_generator,
        **_named("field", run.fields),
        **_named("load field", run.load_fields),
        **_named("workload field", run.workload.model_dump(mode="json")),
    }


def _named(kind: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Write values so that equal ones read equal, whatever the order of their keys."""
    return {
        f"{kind} {name}": json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
        for name, value in values.items()
    }


def _values(name: str, side: Sequence[Mapping[str, str]]) -> str:
    return " or ".join(sorted({facts.get(name, ABSENT) or "unknown" for facts in side}))
