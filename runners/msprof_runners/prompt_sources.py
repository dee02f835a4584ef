"""Prompts to run: preset ones, a file of them, or synthetic ones of a given length."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msprof_runners.runner_settings import DataConfig
from pytest_msprof.errors import InvalidWorkload

__all__ = ["PRESET", "prompts_for", "read_prompts", "synthetic_prompts"]

PRESET = ("Explain what is gpt_oss.",)
KEYS = ("prompt", "text", "question")
"""Where a line of a file may have its prompt."""


def prompts_for(data: DataConfig, *, vocabulary: int, special: frozenset[int], seed: int = 0) -> list[Any]:
    """Return as many prompts as *data* has `batch_size`; where there are fewer, they are repeated.

    `dataset: synthetic` gives token ids, `input_max_len` of them a prompt, from a *vocabulary* of that
    many tokens without the *special* ones.
    """
    if data.dataset == "synthetic":
        return synthetic_prompts(data.batch_size, data.input_max_len, vocabulary=vocabulary, special=special, seed=seed)
    found = list(PRESET) if data.dataset == "default" else read_prompts(Path(data.dataset))
    return [found[number % len(found)] for number in range(data.batch_size)]


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a JSON lines file: each line a text, or a table with one under a known key.

    Raises `InvalidWorkload` that names the line, or says what is possible where there is no such file.
    """
    if path.parts == (path.stem,) and not path.exists():
        raise InvalidWorkload(
            f"unknown dataset {str(path)!r} (possible: default, synthetic, or the path of a JSON lines file)"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidWorkload(f"cannot read the prompts in {path}: {error}") from None
    found = list(_prompts(lines, path))
    if not found:
        raise InvalidWorkload(f"{path} holds no prompt")
    return found


def _prompts(lines: list[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            raise InvalidWorkload(f"{path}, line {number} is no JSON: {line[:60]!r}") from None
        prompt = next((entry[key] for key in KEYS if key in entry), None) if isinstance(entry, dict) else entry
        if not isinstance(prompt, str) or not prompt:
            raise InvalidWorkload(f"{path}, line {number} must be a text, or have one as {' or '.join(KEYS)}")
        yield prompt


def synthetic_prompts(
    number: int, length: int, *, vocabulary: int, special: frozenset[int], seed: int = 0
) -> list[list[int]]:
    """Return *number* prompts of exactly *length* tokens, the same for a seed."""
    draws = random.Random(seed)  # noqa: S311 - prompts are no secret
    tokens = [token for token in range(vocabulary) if token not in special]
    return [draws.choices(tokens, k=length) for _ in range(number)]
