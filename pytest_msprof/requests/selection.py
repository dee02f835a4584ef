"""Choosing rows of a dataset for one load: in an order of the repeat's own, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests.datasets import Asked, read_dataset
from pytest_msprof.requests.draws import integers
from pytest_msprof.requests.lengths import draw_lengths
from pytest_msprof.requests.request import Request
from pytest_msprof.requests.stream import Stream
from pytest_msprof.requests.talks import think_times
from pytest_msprof.requests.tokenizers import token_counter
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Dataset

__all__ = ["order", "selected"]


def order(number: int, stream: Stream, wanted: int | None) -> list[int]:
    """Return the places of *number* rows in an order of the repeat's own; each load step begins *wanted* rows on."""
    drawn = integers(stream._replace(step=0).key("order"), number)
    places = [int(place) for place in np.argsort(drawn, kind="stable")]
    begin = stream.step * (wanted or 0) % number
    return places[begin:] + places[:begin]


def selected(dataset: Dataset, workload: Workload, tokenizer: Path | None, stream: Stream) -> list[Request]:
    """Return the requests of a load, as many as are wanted, else all that the dataset has.

    Raises `InvalidWorkload` when the dataset has too few rows.
    """
    rows, wanted = read_dataset(dataset), workload.num_requests
    if dataset.again and wanted is None:
        raise InvalidWorkload(f"the dataset {dataset.path} is sent again and again: give num_requests to end that")
    selection = _Selection(dataset, workload, tokenizer, stream)
    kept = selection.short(rows[place] for place in order(len(rows), stream, wanted))
    if dataset.again:
        kept = cycle(list(kept))
    found = list(islice(selection.requests(kept), wanted))
    if found and len(found) >= (wanted or 0):
        return found
    limit = f" of at most {dataset.longest} tokens" if dataset.longest else ""
    raise InvalidWorkload(
        f"{wanted or 'some'} requests were wanted, but the dataset {dataset.path} has {len(found)}{limit}: "
        f"ask for fewer num_requests, or send rows again (again=True, --dataset-again)"
    )


class _Selection:
    """Turns rows into requests and knows how long they are."""

    def __init__(self, dataset: Dataset, workload: Workload, tokenizer: Path | None, stream: Stream) -> None:
        self._dataset, self._workload, self._stream = dataset, workload, stream
        self._exact = token_counter(tokenizer)

    def short(self, rows: Iterable[Sequence[Asked]]) -> Iterator[Sequence[Asked]]:
        """Leave out what is too long."""
        longest = self._dataset.longest
        return (row for row in rows if longest is None or self._count(row[0].prompt) <= longest)

    def requests(self, rows: Iterable[Sequence[Asked]]) -> Iterator[Request]:
        """Give the requests of each row: its first turn, or as many as a session has."""
        sessions = self._workload.sessions
        for number, row in enumerate(rows):
            if sessions is None:
                yield self._request(row[0], number)
                continue
            turns = min(len(row), draw_lengths(sessions.turns, self._stream.key("turns", number), 1)[0])
            thinking = think_times(sessions, self._stream, number, turns)
            for turn, (asked, think_time) in enumerate(zip(row, thinking, strict=False)):
                yield self._request(asked, number, session=number, turn=turn, think_time=think_time)

    def _request(
        self, asked: Asked, number: int, *, session: int = -1, turn: int = 0, think_time: float = 0.0
    ) -> Request:
        return Request(
            prompt=asked.prompt,
            messages=asked.messages,
            input_tokens=self._exact(asked.prompt) if self._exact else -1,
            output_tokens=self._wanted(asked, number),
            model=asked.model,
            session=session,
            turn=turn,
            think_time=think_time,
            extra=asked.extra,
        )

    def _wanted(self, asked: Asked, number: int) -> int:
        """Return the tokens to ask for: what the row says, the length of its answer, or the workload's."""
        if asked.output_tokens:
            return asked.output_tokens
        if asked.answer and self._dataset.lengths == "answers":
            return max(1, self._count(asked.answer))
        return draw_lengths(self._workload.output_tokens, self._stream.key("output", number), 1)[0]

    def _count(self, text: str) -> int:
        return self._exact(text) if self._exact else len(text.split())
