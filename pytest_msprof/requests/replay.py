"""Requests with the lengths of a trace, and with its shared beginnings where it tells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from pytest_msprof.requests.draws import integers
from pytest_msprof.requests.lengths import draw_lengths
from pytest_msprof.requests.prompts import NO_LEAD, Prompts
from pytest_msprof.requests.recorded import Recorded
from pytest_msprof.requests.request import Request
from pytest_msprof.requests.stream import Stream
from pytest_msprof.requests.vocabulary import Vocabulary, vocabulary_of
from pytest_msprof.workload import Workload

__all__ = ["Replay"]

BLOCKS_KEPT = 4096


class Replay:
    """The requests of a trace one after the other; many at once or few at a time, they are the same."""

    def __init__(self, workload: Workload, tokenizer: Path | None, stream: Stream) -> None:
        self._workload, self._stream = workload, stream
        self._texts = _Texts(workload, tokenizer, stream)
        self._rows = self._talks = 0

    def take(self, talks: Sequence[Sequence[Recorded]]) -> list[Request]:
        """Return a request for each turn of the next *talks*, talk after talk.

        Equal block ids give equal text, in this repeat and step only. A later turn waits for the answer
        before it, and for its own time or as long as the trace says.
        """
        workload, trace = self._workload, self._workload.trace
        scale = trace.time_scale if trace else 1.0
        first, begin = self._talks, self._rows
        rows = [(number, turn, row) for number, talk in enumerate(talks) for turn, row in enumerate(talk)]
        self._talks, self._rows = first + len(talks), begin + len(rows)
        answers = draw_lengths(workload.output_tokens, self._stream.key("output"), len(rows), begin=begin)
        texts = self._texts.of([row for _, _, row in rows], begin)
        return [
            Request(
                prompt=prompt,
                messages=row.messages,
                input_tokens=row.input_tokens or -1,
                output_tokens=answer if row.output_tokens is None else row.output_tokens,
                session=first + number if len(talks[number]) > 1 else -1,
                turn=turn,
                think_time=(row.delay or 0.0) * scale if turn else 0.0,
                earliest=row.at * scale if turn and row.delay is None and workload.keeps_times else 0.0,
                extra=row.extra,
            )
            for (number, turn, row), prompt, answer in zip(rows, texts, answers, strict=True)
        ]


class _Texts:
    """The prompts of a trace: recorded ones, those that block ids stand for, and words."""

    def __init__(self, workload: Workload, tokenizer: Path | None, stream: Stream) -> None:
        vocabulary = vocabulary_of(tokenizer, with_specials=workload.endpoint != "chat")
        self._plain = Prompts(vocabulary, ["trace", *stream])
        self._blocks = _Blocks(vocabulary, stream, workload.trace.block_tokens if workload.trace else 1)

    def of(self, rows: Sequence[Recorded], begin: int) -> Iterator[str]:
        """Give the prompt of each of *rows*, the first of which is number *begin*."""
        made = [row.input_tokens for row in rows if row.input_tokens and not row.blocks]
        words = iter(self._plain.take([(tokens, NO_LEAD) for tokens in made]))
        for number, row in enumerate(rows, begin):
            if row.blocks:
                yield self._blocks.text(number, row)
            else:
                yield next(words) if row.input_tokens else row.prompt


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
