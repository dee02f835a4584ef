"""The text of the requests: exact in length, and no two the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from operator import itemgetter
from typing import NamedTuple

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import digest
from pytest_msprof.requests.draws import integers, stride
from pytest_msprof.requests.vocabulary import Vocabulary

__all__ = ["NO_LEAD", "Lead", "Prompts"]

FRUITLESS_ATTEMPTS = 8


class Lead(NamedTuple):
    """What a prompt begins with, before the words that are its own."""

    text: str
    tokens: int


NO_LEAD = Lead("", 0)


@dataclass
class Prompts:
    """Prompts drawn by a key and nothing else, exact in length, no two the same."""

    vocabulary: Vocabulary
    key: Sequence[object]
    _streams: dict[tuple[int, Lead], _Stream] = field(default_factory=dict)

    def take(self, wanted: Sequence[tuple[int, Lead]]) -> list[str]:
        """Return the next prompts: of so many tokens each, with what they begin with among them.

        Raises `InvalidWorkload` when there are not so many different prompts of a length.
        """
        taken = {kind: iter(self._stream(*kind).take(number)) for kind, number in Counter(wanted).items()}
        return [next(taken[kind]) for kind in wanted]

    def _stream(self, length: int, lead: Lead) -> _Stream:
        kind = (length, lead)
        if kind not in self._streams:
            key = [*self.key, length, *([lead.text] if lead.tokens else [])]
            self._streams[kind] = _Stream(self.vocabulary, length, lead, digest(key))
        return self._streams[kind]


class _Stream:
    """Prompts of one length that begin with the same lead."""

    def __init__(self, vocabulary: Vocabulary, length: int, lead: Lead, key: str) -> None:
        self._vocabulary, self._length, self._lead = vocabulary, length, lead
        self._draws = _draws(vocabulary, length, lead, key)
        self._seen = set[int]()

    def _lengths(self, batch: Sequence[str]) -> Sequence[int]:
        """Return the tokens of each draw: counted where words may merge with their neighbours."""
        return [self._length] * len(batch) if self._vocabulary.stands_alone else self._vocabulary.count(batch)

    def take(self, number: int) -> list[str]:
        """Return the next prompts; a draw that came out longer or came before is dropped."""
        made, fruitless = list[str](), 0
        while len(made) < number and fruitless < FRUITLESS_ATTEMPTS:
            before = len(made)
            batch = list(islice(self._draws, number - len(made)))
            for prompt, tokens in zip(batch, self._lengths(batch), strict=True):
                if tokens == self._length and (mark := _mark(prompt)) not in self._seen:
                    self._seen.add(mark)
                    made.append(prompt)
            fruitless = fruitless + 1 if len(made) == before else 0
        if len(made) == number:
            return made
        raise InvalidWorkload(
            f"{number} different prompts of {self._length} tokens were wanted, but this tokenizer gave {len(made)}: "
            f"ask for more input_tokens or fewer num_requests"
        )


def _mark(prompt: str) -> int:
    """Return what stands for a prompt that came before: a million texts would need gigabytes."""
    return int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=8).digest())


def _draws(vocabulary: Vocabulary, length: int, lead: Lead, key: str) -> Iterator[str]:
    """Give prompts without end, drawn by *key*; the first two words after the lead differ from prompt to prompt."""
    words, joint, size = vocabulary.words, vocabulary.joint, len(vocabulary.words)
    if lead.tokens >= length:
        raise InvalidWorkload(f"a prompt of {length} tokens has nothing of its own after a prefix of {lead.tokens}")
    fronts = range(size) if lead.tokens else vocabulary.fronts(length)
    if not fronts:
        wanted = min(vocabulary.front)
        raise InvalidWorkload(f"input_tokens is {length}, but the shortest text of this tokenizer has {wanted}")
    pairs = len(fronts) * size
    first = int(integers(key, 1)[0])
    begin = f"{lead.text}{joint}" if lead.tokens else ""
    for number in count():
        pair = (first + number * stride(pairs)) % pairs
        front, second = fronts[pair // size], pair % size
        more = length - (lead.tokens + 1 if lead.tokens else vocabulary.front[front])
        drawn = (integers(f"{key}/{number}", max(more - 1, 0)) % size).tolist()
        chosen = (front, *((second,) if more else ()), *drawn)
        yield begin + (joint.join(itemgetter(*chosen)(words)) if len(chosen) > 1 else words[front])
