"""What happened to each request of a run, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample", "SampleBuffer", "Samples"]

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


TAKEN_AT_ONCE = 65536
"""Requests whose gaps are put in order at a time: the places of all of them would need more memory than they do."""
FLOATS = ("due", "start", "connect", "ttft", "latency", "closed")
INTEGERS = ("input_tokens", "output_tokens", "first_tokens")
TEXTS = ("token_source", "finish_reason", "error")


@dataclass(frozen=True, slots=True)
class Samples:
    """The requests of one run as columns, shape ``(n,)`` each; gaps flat with offsets ``(n + 1,)``.

    Gaps are most of what is kept, and have single precision: a nanosecond in a gap of 10 ms.
    """

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
    gaps: NDArray[np.float32]
    gap_offsets: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Samples:
        """Turn single samples into columns."""
        buffer = SampleBuffer()
        for sample in samples:
            buffer.add(sample)
        return buffer.take()

    @classmethod
    def concatenate(cls, parts: Sequence[Samples]) -> Samples:
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

    def take(self, order: NDArray[np.int64]) -> Samples:
        """Return the requests at the places *order*, in that order."""
        columns = {
            name: values[order] for name, values in self.columns().items() if name not in ("gaps", "gap_offsets")
        }
        lengths = np.diff(self.gap_offsets)[order]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        gaps = np.empty(int(offsets[-1]), self.gaps.dtype)
        for low in range(0, len(order), TAKEN_AT_ONCE):
            part = order[low : low + TAKEN_AT_ONCE]
            begins, found = self.gap_offsets[part], lengths[low : low + TAKEN_AT_ONCE]
            first, last = int(offsets[low]), int(offsets[min(low + TAKEN_AT_ONCE, len(order))])
            shifts = np.repeat(begins - offsets[low : low + len(part)] + first, found)
            gaps[first:last] = self.gaps[np.arange(last - first) + shifts]
        return type(self)(**columns, gaps=gaps, gap_offsets=offsets)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return every column by name, offsets included."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which requests succeeded."""
        found: NDArray[np.bool_] = self.error == ""
        return found

    @property
    def tpot(self) -> NDArray[np.float64]:
        """Time per output token after the first event, NaN where one event held the whole answer."""
        after_first = self.output_tokens - self.first_tokens
        after_first[self.latency == self.ttft] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(after_first > 0, (self.latency - self.ttft) / after_first, np.nan)

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


class SampleBuffer:
    """Collects requests one by one in columns: a hundred bytes each and four for each gap."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._floats = {name: array("d") for name in FLOATS}
        self._integers = {name: array("q") for name in INTEGERS}
        self._texts: dict[str, list[str]] = {name: [] for name in TEXTS}
        self._gaps, self._lengths = array("f"), array("q")

    def add(self, sample: Sample) -> None:
        """Add one request."""
        columns: Iterable[tuple[str, Any]] = (*self._floats.items(), *self._integers.items(), *self._texts.items())
        for name, values in columns:
            values.append(getattr(sample, name))
        self._gaps.extend(sample.gaps)
        self._lengths.append(len(sample.gaps))

    def take(self) -> Samples:
        """Return what was collected, and begin anew."""
        columns: dict[str, Any] = {name: np.array(values, np.float64) for name, values in self._floats.items()}
        columns |= {name: np.array(values, np.int64) for name, values in self._integers.items()}
        columns |= {name: np.array(values, np.str_) for name, values in self._texts.items()}
        lengths = np.array(self._lengths, np.int64)
        found = Samples(
            **columns,
            gaps=np.array(self._gaps, np.float32),
            gap_offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        )
        self._start()
        return found

    def __len__(self) -> int:
        return len(self._lengths)
