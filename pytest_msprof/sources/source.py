"""One measured launch, whoever measured it: a run of ours, a folder of a profiler, a file of another tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pytest_msprof.results import Run
from pytest_msprof.sources.quantities import Quantity

__all__ = ["Figures", "Name", "Source", "writable"]


class Name(NamedTuple):
    """What a figure is of."""

    dimension: str
    key: str
    statistic: str
    """`mean`, `p90`, …; `value` for a single figure."""

    def __str__(self) -> str:
        parts = (self.dimension, self.key, self.statistic)
        return ".".join(parts[:2] if self.statistic == "value" else parts)


def writable(text: str) -> str:
    """Return text that any file can hold, whatever bytes a path or name had."""
    return text.encode("utf-8", "replace").decode()


@dataclass(slots=True)
class Figures:
    """Figures while they are gathered, in SI units."""

    values: dict[Name, float] = field(default_factory=dict)
    quantities: dict[tuple[str, str], Quantity] = field(default_factory=dict)
    """By dimension and key."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Values behind the statistics, where the file says so."""
    shapes: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    """Some of those values, in order and evenly spaced over all of them, where the file has them."""

    def add(
        self,
        found: Quantity,
        values: Mapping[str, float],
        *,
        count: int | None = None,
        shape: Sequence[float] = (),
    ) -> None:
        """Add statistics of one quantity, in the unit of its label; *shape* draws its distribution."""
        found = found._replace(key=writable(found.key), label=writable(found.label))
        self.quantities[found.dimension, found.key] = found
        for statistic, value in values.items():
            self.values[Name(found.dimension, found.key, statistic)] = value / found.per_unit
        if count is not None:
            self.counts[found.dimension, found.key] = count
        if shape:
            self.shapes[found.dimension, found.key] = tuple(value / found.per_unit for value in shape)


@dataclass(frozen=True, slots=True)
class Source:
    """One launch as one file or folder tells it."""

    path: Path
    kind: str
    """What wrote it, in words."""
    figures: Figures
    launch: str = ""
    """The start of the engine that was measured; empty: this source is a launch of its own."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """What must be equal on both sides, where both say it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What else it says of engine, machine and load; may differ."""
    histogram: Mapping[int, int] = field(default_factory=dict)
    """Batches by their size."""
    run: Run | None = None
    """The run itself, where it is one of ours."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know, one sentence each."""

    @property
    def launch_id(self) -> str:
        """The unit of evidence."""
        return self.launch or str(self.path)
