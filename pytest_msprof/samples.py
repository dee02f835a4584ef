"""What happened to each request of a run, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample", "Samples"]

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times in seconds, NaN where a thing never happened.

    `due` and `start` count from the start of the run, the others from `start`.
    """

    due: float
    """When the schedule wanted it sent; equals `start` in a closed loop."""
    start: float
    """First byte of the request handed to an open connection."""
    connect: float = 0.0
    """Time spent opening the connection, 0 when one was reused."""
    ttft: float = NAN
    """Until the first event with content."""
    latency: float = NAN
    """Until the last event with content."""
    closed: float = NAN
    """Until the last byte of the answer."""
    input_tokens: int = -1
    """-1 where nobody said."""
    output_tokens: int = -1
    """-1 where nobody said."""
    first_tokens: int = 1
    """Tokens of the first event with content."""
    gaps: tuple[float, ...] = ()
    """Time between neighbouring events with content."""
    token_source: str = ""
    """Who counted: usage, tokenizer or events."""
    finish_reason: str = ""
    error: str = ""
    """Class of the failure, empty for a success."""


FLOATS = ("due", "start", "connect", "ttft", "latency", "closed")
INTEGERS = ("input_tokens", "output_tokens", "first_tokens")
TEXTS = ("token_source", "finish_reason", "error")


@dataclass(frozen=True, slots=True)
class Samples:
    """The requests of one run as columns, shape ``(n,)`` each; gaps flat with offsets ``(n + 1,)``."""

    due: NDArray[np.float64]
    start: NDArray[np.float64]
    connect: NDArray[np.float64]
    ttft: NDArray[np.float64]
    latency: NDArray[np.float64]
    closed: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    first_tokens: NDArray[np.int64]
    token_source: NDArray[np.str_]
    finish_reason: NDArray[np.str_]
    error: NDArray[np.str_]
    gaps: NDArray[np.float64]
    gap_offsets: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        """Turn single samples into columns."""
        columns: dict[str, Any] = {name: np.array([getattr(s, name) for s in samples], np.float64) for name in FLOATS}
        columns |= {name: np.array([getattr(s, name) for s in samples], np.int64) for name in INTEGERS}
        columns |= {name: np.array([getattr(s, name) for s in samples], np.str_) for name in TEXTS}
        lengths = [len(s.gaps) for s in samples]
        columns["gaps"] = np.array([gap for s in samples for gap in s.gaps], np.float64)
        columns["gap_offsets"] = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64)
        return cls(**columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Samples]) -> Self:
        """Join blocks in order."""
        if not parts:
            return cls.of([])
        columns = {
            column.name: np.concatenate([getattr(part, column.name) for part in parts])
            for column in fields(cls)
            if column.name != "gap_offsets"
        }
        lengths = np.concatenate([np.diff(part.gap_offsets) for part in parts])
        columns["gap_offsets"] = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return cls(**columns)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return every column by name, offsets included."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which requests succeeded."""
        found: NDArray[np.bool_] = self.error == ""
        return found

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: int) -> Sample:
        low, high = int(self.gap_offsets[index]), int(self.gap_offsets[index + 1])
        values: dict[str, Any] = {name: float(getattr(self, name)[index]) for name in FLOATS}
        values |= {name: int(getattr(self, name)[index]) for name in INTEGERS}
        values |= {name: str(getattr(self, name)[index]) for name in TEXTS}
        return Sample(**values, gaps=tuple(self.gaps[low:high].tolist()))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))
