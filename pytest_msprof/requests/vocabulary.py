"""Words that join without merging, so that prompts have exactly the tokens that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests.caching import read_cached, write_cached
from pytest_msprof.requests.draws import stride
from pytest_msprof.requests.tokenizers import count_tokens, has_tokenizer, read_tokenizer, tokenizer_digest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Vocabulary", "vocabulary_of"]

MOST_WORDS = 4096
FEWEST_WORDS = 16
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
ALPHABET = list("abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Vocabulary:
    """Words that add one token each when they are joined, and what each takes at the front."""

    words: tuple[str, ...]
    joint: str
    front: tuple[int, ...]
    """Tokens of each word alone, special tokens included."""
    with_specials: bool
    stands_alone: bool
    """Whether the tokenizer never looks across a joint, so that counts add up without a test."""
    folder: Path | None = field(default=None, compare=False)

    def fronts(self, most: int) -> Sequence[int]:
        """Return the places of the words that take at most so many tokens at the front of a text."""
        if most >= self._longest_front:
            return range(len(self.words))
        return [place for place, tokens in enumerate(self.front) if tokens <= most]

    @cached_property
    def _longest_front(self) -> int:
        return max(self.front)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text."""
        if self.folder is None:
            return [len(text.split()) for text in texts]
        return count_tokens(self.folder, texts, with_specials=self.with_specials)


def vocabulary_of(folder: Path | None, *, with_specials: bool) -> Vocabulary:
    """Return the words of the tokenizer in *folder*; without one, made-up words that count as a token each.

    What was found once is kept in the user's cache: a large tokenizer takes a second to read.

    Raises `InvalidWorkload` for a tokenizer whose tokens do not join.
    """
    if folder is None or not has_tokenizer(folder):
        words = tuple(first + second for first in SYLLABLES for second in SYLLABLES)
        return Vocabulary(words, " ", (1,) * len(words), with_specials=False, stands_alone=True)
    changed = (folder / "tokenizer.json").stat().st_mtime_ns
    return _kept_vocabulary(folder, changed, with_specials=with_specials)


@lru_cache(maxsize=8)
def _kept_vocabulary(folder: Path, _changed: int, *, with_specials: bool) -> Vocabulary:
    name = f"vocabulary-{tokenizer_digest(folder)}-{int(with_specials)}"
    kept = read_cached(name)
    if kept is not None:
        words, front = tuple(kept.pop("words")), tuple(kept.pop("front"))
        return Vocabulary(words=words, front=front, folder=folder, **kept)
    found = _find_vocabulary(folder, with_specials=with_specials)
    write_cached(name, {key: value for key, value in asdict(found).items() if key != "folder"})
    return found


def _find_vocabulary(folder: Path, *, with_specials: bool) -> Vocabulary:
    """Find the words of a tokenizer that join without merging: whole words, else single letters."""
    tokenizer = read_tokenizer(folder)
    words, joint = _joinable(folder, _plain_words(tokenizer), " "), " "
    if len(words) < FEWEST_WORDS:
        words, joint = _joinable(folder, ALPHABET, ""), ""
    if len(words) < FEWEST_WORDS:
        raise InvalidWorkload(f"cannot make prompts of exact length with {folder}: the tokens of its tokenizer merge")
    front = tuple(count_tokens(folder, words, with_specials=with_specials))
    alone = _stands_alone(tokenizer, words, joint) and _adds_up(folder, words, joint)
    return Vocabulary(tuple(words), joint, front, with_specials, alone, folder)


def _plain_words(tokenizer: Tokenizer) -> Iterator[str]:
    """Give the plain ASCII words among the tokens, in order of their ids."""
    seen = set[str]()
    tokens = iter(sorted(tokenizer.get_vocab().values()))
    while part := list(islice(tokens, MOST_WORDS)):
        for text in tokenizer.decode_batch([[token] for token in part]):
            word = text.strip()
            if len(word) > 1 and word.isascii() and word.isalpha() and word not in seen:
                seen.add(word)
                yield word


def _joinable(folder: Path, words: Iterable[str], joint: str) -> list[str]:
    """Keep the words that add one token each time they are appended."""
    kept, rest = list[str](), iter(words)
    base = count_tokens(folder, ["a"], with_specials=False)[0]
    while len(kept) < MOST_WORDS and (part := list(islice(rest, MOST_WORDS))):
        counts = count_tokens(folder, [joint.join(("a", word, word)) for word in part], with_specials=False)
        kept += [word for word, tokens in zip(part, counts, strict=True) if tokens == base + 2]
    return kept[:MOST_WORDS]


def _stands_alone(tokenizer: Tokenizer, words: Sequence[str], joint: str) -> bool:
    """Say whether the text is cut at every joint before its pieces become tokens.

    Models of tokens never look beyond a piece, so counts of pieces add up. Where the text is cut
    depends on the kind of its characters, and all of these words are made of letters.
    """
    text = joint.join(words)
    if tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str(text) != text:
        return False
    if tokenizer.pre_tokenizer is None:
        return False
    cuts = {begin for _, (begin, _) in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    ends = accumulate(len(word) + len(joint) for word in words[:-1])
    return all(end - len(joint) in cuts or end in cuts for end in ends)


def _adds_up(folder: Path, words: Sequence[str], joint: str) -> bool:
    """Prove by counting that what stands alone adds up: every word, among many neighbours."""
    step = stride(len(words))
    mixed = [words[number * step % len(words)] for number in range(len(words))]
    front = count_tokens(folder, words[:1], with_specials=False)[0]
    return count_tokens(folder, [joint.join([words[0], *mixed])], with_specials=False)[0] == front + len(mixed)
