"""Identifiers and digests: UUIDs that sort by time, hashes that are the same on every machine."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["content_digest", "digest", "directory_digest", "new_id"]

DIGEST_LENGTH = 16


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, 12 of their fraction, then random bits.

    The fraction (section 6.2, method 3) keeps in order what one process makes within a millisecond.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random))


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that depend on the JSON of *value* and nothing else."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def content_digest(path: Path) -> str:
    """Return a digest of a file, or of all files of a folder by their names in it; wherever it lies."""
    files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
    states = [(found.stat().st_mtime_ns, found.stat().st_size) for found in files]
    return digest(
        [
            [str(found.relative_to(path)), _file_digest(found, *state)]
            for found, state in zip(files, states, strict=True)
        ]
    )


@lru_cache(maxsize=256)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MODEL_FILES = ("*.json", "*.jinja", "*.safetensors", "rank_*/*.safetensors")
"""Configuration, tokenizer and weights, divided over processes or not."""


def directory_digest(folder: Path, *, patterns: tuple[str, ...] = MODEL_FILES) -> str:
    """Return a digest of a model's folder: whole small files, size and both ends of large ones."""
    state = hashlib.sha256()
    for path in sorted({found for pattern in patterns for found in folder.glob(pattern)}):
        size = path.stat().st_size
        state.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            state.update(file.read(1 << 20))
            if size > 1 << 20:
                file.seek(max(size - (1 << 20), 1 << 20))
                state.update(file.read())
    return state.hexdigest()[:DIGEST_LENGTH]
