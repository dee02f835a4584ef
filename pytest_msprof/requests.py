"""The text and the timing of the requests of a load, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import DIGEST_LENGTH, digest
from pytest_msprof.workload import Workload

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["arrivals", "has_tokenizer", "prompts", "token_counter", "tokenizer_digest", "warmup_prompts"]

MOST_WORDS = 4096
FEWEST_WORDS = 16
FRUITLESS_ATTEMPTS = 8
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def prompts(workload: Workload, *, tokenizer: Path | None, repeat: int = 0, step: int = 0) -> list[str]:
    """Return one prompt a request, each of exactly `input_tokens` tokens and no two the same.

    A function of the workload, the tokenizer, *repeat* and *step*: each repeat and load step has
    new text. *tokenizer* is a folder with `tokenizer.json`; where there is none, a word stands for
    a token. For completions the special tokens that the tokenizer adds are counted, as engines do;
    a chat counts the message without its template.

    Raises `InvalidWorkload` when there are not so many different prompts of this length.
    """
    return _stream(workload, tokenizer, workload.num_requests, ("prompts", repeat, step))


def warmup_prompts(workload: Workload, *, tokenizer: Path | None, repeat: int = 0, step: int = 0) -> list[str]:
    """Return the prompts sent before the clock runs; none of them is sent again later."""
    return _stream(workload, tokenizer, workload.warmup, ("warmup", repeat, step))


def arrivals(workload: Workload, *, repeat: int = 0, step: int = 0) -> NDArray[np.float64] | None:
    """Return when each request is due, seconds from the first one; None in a closed loop.

    The gaps of a Poisson process at `request_rate` are exponentially distributed.
    """
    if workload.request_rate is None:
        return None
    key = digest(["arrivals", workload.seed, repeat, step])
    uniform = (_integers(key, workload.num_requests - 1) + 0.5) / 2**32
    return np.concatenate(([0.0], np.cumsum(-np.log(uniform) / workload.request_rate)))


def has_tokenizer(folder: Path | None) -> bool:
    """Say whether *folder* holds a tokenizer that can count."""
    return folder is not None and (folder / "tokenizer.json").is_file()


def token_counter(folder: Path | None) -> Callable[[str], int] | None:
    """Return what counts the tokens of an answer, None where *folder* has no tokenizer."""
    if not has_tokenizer(folder):
        return None
    vocabulary = _vocabulary_of(folder, with_specials=False)
    return lambda text: vocabulary.count([text])[0]


def tokenizer_digest(folder: Path | None) -> str:
    """Return the identity of a folder's tokenizer, empty where it has none."""
    if folder is None or not has_tokenizer(folder):
        return ""
    return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()[:DIGEST_LENGTH]


def _stream(workload: Workload, tokenizer: Path | None, number: int, stream: tuple[str, int, int]) -> list[str]:
    vocabulary = _vocabulary_of(tokenizer, with_specials=workload.endpoint == "completions")
    length, made = workload.input_tokens, list[str]()
    draws = vocabulary.draws(length, digest([*stream, workload.seed, length]))
    seen, fruitless = set[str](), 0
    while len(made) < number and fruitless < FRUITLESS_ATTEMPTS:
        before = len(made)
        batch = [next(draws) for _ in range(number - len(made))]
        for prompt, tokens in zip(batch, vocabulary.count(batch), strict=True):
            if tokens == length and prompt not in seen:
                seen.add(prompt)
                made.append(prompt)
        fruitless = fruitless + 1 if len(made) == before else 0
    if len(made) == number:
        return made
    raise InvalidWorkload(
        f"{number} different prompts of {length} tokens were wanted, but this tokenizer gave {len(made)}: "
        f"ask for more input_tokens or fewer num_requests"
    )


@dataclass(frozen=True)
class _Vocabulary:
    """Words that add exactly one token each when they are joined, and what each takes at the front."""

    words: tuple[str, ...]
    joint: str
    front: tuple[int, ...]
    """Tokens of each word alone, special tokens included."""
    tokenizer: Tokenizer | None
    with_specials: bool

    def draws(self, length: int, key: str) -> Iterator[str]:
        """Give prompts without end, drawn by *key*; the first two words differ from prompt to prompt."""
        fronts = [index for index, tokens in enumerate(self.front) if tokens <= length]
        if not fronts:
            wanted = min(self.front)
            raise InvalidWorkload(f"input_tokens is {length}, but the shortest text of this tokenizer has {wanted}")
        size = len(self.words)
        pairs = len(fronts) * size
        first = int(_integers(key, 1)[0])
        for number in count():
            # a stride that shares no divisor with the number of pairs visits every pair once
            pair = (first + number * _stride(pairs)) % pairs
            front, second = fronts[pair // size], pair % size
            more = length - self.front[front]
            drawn = _integers(f"{key}/{number}", max(more - 1, 0)) % size
            chosen = [front, *([second] if more else []), *drawn]
            yield self.joint.join(self.words[index] for index in chosen)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text."""
        if self.tokenizer is None:
            return [len(text.split()) for text in texts]
        return _token_counts(self.tokenizer, texts, with_specials=self.with_specials)


def _vocabulary_of(folder: Path | None, *, with_specials: bool) -> _Vocabulary:
    if folder is None or not has_tokenizer(folder):
        words = tuple(first + second for first in SYLLABLES for second in SYLLABLES)
        return _Vocabulary(words, " ", (1,) * len(words), None, with_specials=False)
    path = folder / "tokenizer.json"
    return _read_vocabulary(path, path.stat().st_mtime_ns, with_specials=with_specials)


@lru_cache(maxsize=8)
def _read_vocabulary(path: Path, _changed: int, *, with_specials: bool) -> _Vocabulary:
    """Find the words of a tokenizer that join without merging: whole words, else single letters."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words, joint = _joinable(tokenizer, _plain_words(tokenizer), " "), " "
    if len(words) < FEWEST_WORDS:
        words, joint = _joinable(tokenizer, list("abcdefghijklmnopqrstuvwxyz"), ""), ""
    if len(words) < FEWEST_WORDS:
        raise InvalidWorkload(f"cannot make prompts of exact length with {path}: its tokens do not join")
    front = tuple(_token_counts(tokenizer, words, with_specials=with_specials))
    return _Vocabulary(tuple(words), joint, front, tokenizer, with_specials)


def _plain_words(tokenizer: Tokenizer) -> list[str]:
    """List the plain ASCII words among the tokens, in order of their ids."""
    texts = tokenizer.decode_batch([[token] for token in sorted(tokenizer.get_vocab().values())])
    words = (text.strip() for text in texts)
    return list(dict.fromkeys(word for word in words if len(word) > 1 and word.isascii() and word.isalpha()))


def _joinable(tokenizer: Tokenizer, words: list[str], joint: str) -> list[str]:
    """Keep the words that add one token each time they are appended."""
    kept = list[str]()
    for low in range(0, len(words), MOST_WORDS):
        part = words[low : low + MOST_WORDS]
        texts = [joint.join(("a", word, word)) for word in part]
        base = _token_counts(tokenizer, ["a"], with_specials=False)[0]
        counts = _token_counts(tokenizer, texts, with_specials=False)
        kept += [word for word, tokens in zip(part, counts, strict=True) if tokens == base + 2]
        if len(kept) >= MOST_WORDS:
            break
    return kept[:MOST_WORDS]


def _token_counts(tokenizer: Tokenizer, texts: Sequence[str], *, with_specials: bool) -> list[int]:
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=with_specials)]


def _integers(key: str, number: int) -> NDArray[np.uint32]:
    """Return random 32-bit integers that depend on *key* and nothing else, on any machine."""
    return np.frombuffer(hashlib.shake_256(key.encode()).digest(4 * number), dtype="<u4")


@lru_cache(maxsize=8)
def _stride(size: int) -> int:
    """Return a number near the golden section of *size* that shares no divisor with it."""
    return next(stride for stride in count(max(1, int(size * 0.618))) if np.gcd(stride, size) == 1)
