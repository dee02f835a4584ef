"""Words that join without merging, so that prompts have exactly the tokens that were asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import DIGEST_LENGTH
from pytest_msprof.requests.draws import integers, stride

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Vocabulary", "has_tokenizer", "token_counter", "tokenizer_digest", "vocabulary_of"]

MOST_WORDS = 4096
FEWEST_WORDS = 16
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def has_tokenizer(folder: Path | None) -> bool:
    """Say whether *folder* holds a tokenizer that can count."""
    return folder is not None and (folder / "tokenizer.json").is_file()


def token_counter(folder: Path | None) -> Callable[[str], int] | None:
    """Return what counts the tokens of an answer, None where *folder* has no tokenizer."""
    if not has_tokenizer(folder):
        return None
    vocabulary = vocabulary_of(folder, with_specials=False)
    return lambda text: vocabulary.count([text])[0]


def tokenizer_digest(folder: Path | None) -> str:
    """Return the identity of a folder's tokenizer, empty where it has none."""
    if folder is None or not has_tokenizer(folder):
        return ""
    return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class Vocabulary:
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
        first = int(integers(key, 1)[0])
        for number in count():
            # a stride that shares no divisor with the number of pairs visits every pair once
            pair = (first + number * stride(pairs)) % pairs
            front, second = fronts[pair // size], pair % size
            more = length - self.front[front]
            drawn = integers(f"{key}/{number}", max(more - 1, 0)) % size
            chosen = [front, *([second] if more else []), *drawn]
            yield self.joint.join(self.words[index] for index in chosen)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text."""
        if self.tokenizer is None:
            return [len(text.split()) for text in texts]
        return _token_counts(self.tokenizer, texts, with_specials=self.with_specials)


def vocabulary_of(folder: Path | None, *, with_specials: bool) -> Vocabulary:
    """Return the words of the tokenizer in *folder*; without one, made-up words that count as a token each."""
    if folder is None or not has_tokenizer(folder):
        words = tuple(first + second for first in SYLLABLES for second in SYLLABLES)
        return Vocabulary(words, " ", (1,) * len(words), None, with_specials=False)
    path = folder / "tokenizer.json"
    return _read_vocabulary(path, path.stat().st_mtime_ns, with_specials=with_specials)


@lru_cache(maxsize=8)
def _read_vocabulary(path: Path, _changed: int, *, with_specials: bool) -> Vocabulary:
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
    return Vocabulary(tuple(words), joint, front, tokenizer, with_specials)


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
