"""Requests with the lengths of a trace, and with its shared beginnings where it tells them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pytest_msprof.requests.draws import integers
from pytest_msprof.requests.prompts import NO_LEAD, Prompts
from pytest_msprof.requests.request import Request
from pytest_msprof.requests.stream import Stream
from pytest_msprof.requests.traces import Recorded
from pytest_msprof.requests.vocabulary import Vocabulary, vocabulary_of
from pytest_msprof.workload import Workload

__all__ = ["replayed"]

BLOCKS_KEPT = 4096


def replayed(rows: Sequence[Recorded], workload: Workload, tokenizer: Path | None, stream: Stream) -> list[Request]:
    """Return a request for each of *rows*; equal block ids give equal text, in this repeat and step only."""
    vocabulary = vocabulary_of(tokenizer, with_specials=workload.endpoint != "chat")
    plain = [row for row in rows if not row.blocks]
    texts = iter(Prompts(vocabulary, ["trace", *stream]).take([(row.input_tokens, NO_LEAD) for row in plain]))
    block_tokens = workload.trace.block_tokens if workload.trace else 1
    blocks = _Blocks(vocabulary, stream, block_tokens)
    return [
        Request(blocks.text(number, row) if row.blocks else next(texts), None, row.input_tokens, row.output_tokens)
        for number, row in enumerate(rows)
    ]


class _Blocks:
    """The words that block ids stand for."""

    def __init__(self, vocabulary: Vocabulary, stream: Stream, block_tokens: int) -> None:
        self._vocabulary, self._stream, self._block_tokens = vocabulary, stream, block_tokens
        self._front = min(vocabulary.front)
        places = zip(vocabulary.words, vocabulary.front, strict=True)
        self._fronts = [word for word, tokens in places if tokens == self._front]
        self._words = lru_cache(BLOCKS_KEPT)(self._words_of)

    def text(self, number: int, row: Recorded) -> str:
        """Return the prompt of a request: its blocks, the last one cut; words of its own where they end too early."""
        words = [word for block in row.blocks for word in self._words(f"block {block}", self._block_tokens)]
        wanted = max(1, row.input_tokens - self._front + 1)
        if missing := wanted - len(words):
            words = [*words[:wanted], *self._words(f"own {number}", max(missing, 0))]
        return self._vocabulary.joint.join(words)

    def _words_of(self, name: str, number: int) -> tuple[str, ...]:
        """Draw words; the first is one of those that take the fewest tokens at the front of a text."""
        words, drawn = self._vocabulary.words, integers(self._stream.key(name), number)
        first = [self._fronts[int(value) % len(self._fronts)] for value in drawn[:1]]
        return (*first, *(words[place] for place in (drawn[1:] % len(words)).tolist()))
