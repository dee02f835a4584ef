"""Synthetic requests: drawn lengths, shared prefixes, talks of several turns."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from pathlib import Path

from pytest_msprof.requests.draws import uniforms_between
from pytest_msprof.requests.lengths import draw_lengths
from pytest_msprof.requests.prompts import NO_LEAD, Lead, Prompts
from pytest_msprof.requests.request import Request
from pytest_msprof.requests.stream import Stream
from pytest_msprof.requests.talks import turns_of
from pytest_msprof.requests.vocabulary import vocabulary_of
from pytest_msprof.workload import Workload

__all__ = ["Synthetic"]


class Synthetic:
    """Requests made of words, without end."""

    def __init__(self, workload: Workload, tokenizer: Path | None, stream: Stream) -> None:
        self._workload, self._stream = workload, stream
        self._vocabulary = vocabulary_of(tokenizer, with_specials=workload.endpoint != "chat")
        self._prompts = self._prompts_named("prompts")
        self._turns = turns_of(workload.sessions, stream)
        self._taken = 0

    def take(self, number: int) -> list[Request]:
        """Return the next requests; many at once or few at a time, they are the same."""
        begin, self._taken = self._taken, self._taken + number
        wanted, answers = (
            draw_lengths(lengths, self._stream.key(name), number, begin=begin)
            for name, lengths in (("input", self._workload.input_tokens), ("output", self._workload.output_tokens))
        )
        turns = list(islice(self._turns, number))
        leads = [NO_LEAD if place.turn else lead for place, lead in zip(turns, self._leads(begin), strict=True)]
        texts = self._prompts.take(list(zip(wanted, leads, strict=True)))
        return [
            Request(text, None, asked, answer, "", *turn)
            for text, asked, answer, turn in zip(texts, wanted, answers, turns, strict=True)
        ]

    def warm_up(self, number: int) -> list[Request]:
        """Return requests none of which is sent again; they begin with the shared prefixes in turn."""
        workload, stream = self._workload, self._stream
        wanted = draw_lengths(workload.input_tokens, stream.key("warm-up input"), number)
        answers = draw_lengths(workload.output_tokens, stream.key("warm-up output"), number)
        prefixes = self._prefixes or [NO_LEAD]
        leads = [prefixes[place % len(prefixes)] for place in range(number)]
        texts = self._prompts_named("warmup").take(list(zip(wanted, leads, strict=True)))
        return [Request(text, None, asked, answer) for text, asked, answer in zip(texts, wanted, answers, strict=True)]

    @cached_property
    def _prefixes(self) -> list[Lead]:
        shared = self._workload.prefixes
        if shared is None:
            return []
        texts = self._prompts_named("prefixes").take([(shared.tokens, NO_LEAD)] * shared.number)
        return [Lead(text, shared.tokens) for text in texts]

    def _leads(self, begin: int) -> list[Lead]:
        """Return what each request from *begin* on starts with."""
        shared, prefixes = self._workload.prefixes, self._prefixes
        if shared is None:
            return [NO_LEAD] * (self._taken - begin)
        drawn = uniforms_between(self._stream.key("prefix"), begin, self._taken) / shared.share
        return [prefixes[int(place * len(prefixes))] if place < 1 else NO_LEAD for place in drawn.tolist()]

    def _prompts_named(self, name: str) -> Prompts:
        seed, repeat, step = self._stream
        return Prompts(self._vocabulary, [name, repeat, step, seed])
