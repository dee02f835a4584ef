"""What a comparison of two sides found: figure by figure, what differs, and whether that is sure enough to act on."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict

from pytest_msprof.sources.source import Name
from pytest_msprof.verdicts import Delta, Verdict

__all__ = ["GATING", "SCHEMA_VERSION", "Row", "Side", "SideBySide", "SourceFacts"]

SCHEMA_VERSION = 1
"""Version of `compare_result.json`. 1: first release."""
GATING = ("value", "mean", "p50", "p90", "p95", "p99")
"""Statistics that decide where nobody named any: extremes depend on how long somebody looked."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Row(_Frozen):
    """One figure on both sides."""

    dimension: str
    key: str
    """The metric in our words, without a unit."""
    statistic: str
    label: str
    """The metric as its files spell it, with the unit of its figures there."""
    per_unit: float
    """What one unit inside is in the unit of the label."""
    delta: Delta

    @property
    def name(self) -> str:
        """Dimension, key and statistic."""
        return str(Name(self.dimension, self.key, self.statistic))

    def labelled(self, value: float | None) -> float | None:
        """Return a figure in the unit of the label."""
        return None if value is None else value * self.per_unit

    @property
    def metric(self) -> str:
        """Dimension and key."""
        return f"{self.dimension}.{self.key}"

    @property
    def is_missing(self) -> bool:
        """Whether a side does not have it."""
        return self.delta.golden is None or self.delta.current is None


class SourceFacts(_Frozen):
    """What one launch was read from."""

    path: str
    kind: str
    launch: str
    identity: dict[str, str]
    """What must be equal on both sides, where both say it."""
    environment: dict[str, str] = {}
    """What else it says of engine, machine and load."""
    figures: dict[str, float]
    """In SI units, by dimension, metric and statistic."""


class Side(_Frozen):
    """One side of a comparison."""

    path: str
    sources: tuple[SourceFacts, ...]
    """In the order they were measured, where they say when."""
    histogram: dict[int, int]
    """Batches by their size, over all of its sources."""
    shapes: dict[str, tuple[float, ...]] = {}
    """By dimension and metric: some of the single values, in order and evenly spaced over all, launches alike."""

    @property
    def launches(self) -> int:
        """How many starts of an engine it has."""
        return len({source.launch for source in self.sources})


class SideBySide(_Frozen):
    """What `pytest-msprof compare` found."""

    schema_version: int = SCHEMA_VERSION
    input: Side
    golden: Side
    rows: tuple[Row, ...]
    """By dimension, in the order of the golden files; what one side alone has comes after."""
    reasons: tuple[str, ...] = ()
    """Why the two sides cannot be compared."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know, one sentence each."""

    @property
    def gating(self) -> tuple[Row, ...]:
        """The rows that decide."""
        return tuple(row for row in self.rows if row.delta.gates)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict among the rows that decide."""
        if self.reasons or not any(not row.is_missing for row in self.rows):
            return "incomparable"
        found = {row.delta.verdict for row in self.gating}
        return next((verdict for verdict in get_args(Verdict) if verdict in found), "descriptive")

    def to_frame(self) -> Any:
        """Return the rows as a `pandas.DataFrame`, one a figure; needs the extra `reports`."""
        from importlib import import_module

        rows = [
            {"dimension": row.dimension, "label": row.label, "statistic": row.statistic, **row.delta.model_dump()}
            for row in self.rows
        ]
        return import_module("pandas").DataFrame(rows)
