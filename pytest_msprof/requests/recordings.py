"""The requests of a trace in columns: a million of them take tens of megabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.requests.recorded import Recorded

__all__ = ["Recordings"]

UNSAID = -1
"""Output tokens of which the trace says nothing."""


@dataclass(frozen=True, slots=True)
class Recordings(Sequence[Recorded]):
    """Rows of a trace, shape ``(n,)`` each; block ids flat with offsets ``(n + 1,)``.

    Rows that say more than times, lengths and blocks are kept as they are.
    """

    at: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    """−1 where nobody said."""
    blocks: NDArray[np.uint64]
    block_offsets: NDArray[np.int64]
    others: dict[int, Recorded]
    """By their place."""

    @classmethod
    def of(cls, rows: Iterable[Recorded]) -> Self:
        """Turn rows into columns; raises OverflowError for a block id that is no unsigned 64-bit number."""
        at, blocks, lengths = array("d"), array("Q"), array("q")
        inputs, outputs = array("q"), array("q")
        others: dict[int, Recorded] = {}
        for number, row in enumerate(rows):
            if row != Recorded(row.at, row.input_tokens, row.output_tokens, row.blocks):
                others[number] = row
            at.append(row.at)
            inputs.append(row.input_tokens)
            outputs.append(UNSAID if row.output_tokens is None else row.output_tokens)
            blocks.extend(row.blocks)
            lengths.append(len(row.blocks))
        offsets = np.concatenate(([0], np.cumsum(np.array(lengths, np.int64)))).astype(np.int64)
        return cls(
            np.array(at, np.float64),
            np.array(inputs, np.int64),
            np.array(outputs, np.int64),
            np.array(blocks, np.uint64),
            offsets,
            others,
        )

    @property
    def is_plain(self) -> bool:
        """Whether no row is a turn of a talk, or says more than times, lengths and blocks."""
        return not self.others and bool((self.output_tokens != UNSAID).all())

    @overload
    def __getitem__(self, place: int) -> Recorded: ...
    @overload
    def __getitem__(self, place: slice) -> list[Recorded]: ...
    def __getitem__(self, place: int | slice) -> Recorded | list[Recorded]:
        """Return a row, or several."""
        wanted = range(len(self))[place]
        if isinstance(wanted, range):
            return [self[each] for each in wanted]
        at = float(self.at[wanted])
        if wanted in self.others:
            return self.others[wanted]._replace(at=at)
        low, high = self.block_offsets[wanted : wanted + 2].tolist()
        answer = int(self.output_tokens[wanted])
        ids = tuple(self.blocks[low:high].tolist())
        return Recorded(at, int(self.input_tokens[wanted]), None if answer == UNSAID else answer, ids)

    def __len__(self) -> int:
        return len(self.at)

    def take(self, places: NDArray[np.int64]) -> Recordings:
        """Return the rows at *places*, in that order."""
        lengths = np.diff(self.block_offsets)[places]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        shifts = np.repeat(self.block_offsets[:-1][places] - offsets[:-1], lengths)
        blocks = self.blocks[np.arange(len(shifts)) + shifts]
        others = {}
        if self.others:
            others = {new: self.others[old] for new, old in enumerate(places.tolist()) if old in self.others}
        columns = (self.at[places], self.input_tokens[places], self.output_tokens[places])
        return Recordings(*columns, blocks, offsets, others)

    def since_first(self) -> Recordings:
        """Return the rows in the order of their times, which count from the first one."""
        found = self.take(np.argsort(self.at, kind="stable"))
        return Recordings(
            found.at - found.at[0],
            found.input_tokens,
            found.output_tokens,
            found.blocks,
            found.block_offsets,
            found.others,
        )
