"""Reading a model's tokenizer and counting with it, by `tokenizers` alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import DIGEST_LENGTH

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["count_tokens", "has_tokenizer", "read_tokenizer", "token_counter", "tokenizer_digest"]


def has_tokenizer(folder: Path | None) -> bool:
    """Say whether *folder* holds a tokenizer that can count."""
    return folder is not None and (folder / "tokenizer.json").is_file()


def token_counter(folder: Path | None) -> Callable[[str], int] | None:
    """Return what counts the tokens of an answer, None where *folder* has no tokenizer.

    The tokenizer is read when it first counts.
    """
    if folder is None or not has_tokenizer(folder):
        return None
    return lambda text: count_tokens(folder, [text], with_specials=False)[0]


def tokenizer_digest(folder: Path | None) -> str:
    """Return the identity of a folder's tokenizer, empty where it has none."""
    if folder is None or not has_tokenizer(folder):
        return ""
    path = folder / "tokenizer.json"
    return _digest(path, path.stat().st_mtime_ns)


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of *folder*, which neither cuts nor fills what it is given.

    Raises `InvalidWorkload` for a file that is no tokenizer.
    """
    path = folder / "tokenizer.json"
    return _read(path, path.stat().st_mtime_ns)


def count_tokens(folder: Path, texts: Sequence[str], *, with_specials: bool) -> list[int]:
    """Count the tokens of each text, with what the tokenizer adds around it or without."""
    encodings = read_tokenizer(folder).encode_batch_fast(list(texts), add_special_tokens=with_specials)
    return [len(encoding) for encoding in encodings]


@lru_cache(maxsize=16)
def _digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST_LENGTH]


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing more special
        raise InvalidWorkload(f"cannot read the tokenizer {path}: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
