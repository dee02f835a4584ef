"""From prompts to a batch: token ids, cut to the longest that is allowed, padded on the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_msprof.errors import InvalidWorkload

__all__ = ["Batch", "Prompt", "batch_of"]

Prompt = str | Sequence[int]
"""A text, or the ids of its tokens."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts as a model takes them."""

    rows: tuple[tuple[int, ...], ...]
    """Token ids of each prompt, without padding."""
    asked: tuple[int, ...]
    """Tokens of each prompt before it was cut."""
    pad_token: int
    least_width: int = 0
    """Columns at least, where other prompts that are not here have more tokens."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Columns: tokens of the longest prompt."""
        return max(self.least_width, *map(len, self.rows))

    @property
    def padding(self) -> tuple[int, ...]:
        """Pad tokens before each prompt."""
        return tuple(self.width - len(row) for row in self.rows)

    @property
    def padded(self) -> list[list[int]]:
        """Token ids, shape ``(batch, width)``.

        Padding stands on the left, so that the last column is the last token of every prompt.
        """
        return [[self.pad_token] * space + list(row) for row, space in zip(self.rows, self.padding, strict=True)]

    def part(self, count: int, index: int) -> Batch:
        """Return one of *count* parts that are equally large: the last prompt stands again where there is none left."""
        size = -(-len(self) // count)
        rows = (self.rows + self.rows[-1:] * (size * count - len(self)))[index * size : (index + 1) * size]
        return Batch(rows, tuple(map(len, rows)), self.pad_token, least_width=self.width)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was cut, in a sentence."""
        cut = [asked for row, asked in zip(self.rows, self.asked, strict=True) if len(row) < asked]
        if not cut:
            return ()
        return (f"{len(cut)} of {len(self.rows)} prompts were cut to {self.width} tokens; the longest had {max(cut)}",)


def batch_of(
    prompts: str | Sequence[Prompt], tokenizer: Any, *, longest: int, pad_token: int, is_chat: bool = False
) -> Batch:
    """Turn *prompts* into a batch in which none has more than *longest* tokens; the end is cut.

    With *is_chat* a text is what a user says, written as the model's chat template has it.
    Raises `InvalidWorkload` where there is no prompt, or one without a token.
    """
    listed = [prompts] if isinstance(prompts, str) else list(prompts)
    if not listed:
        raise InvalidWorkload("a batch needs at least one prompt, but got none")
    ids = [_ids(prompt, tokenizer, is_chat=is_chat) for prompt in listed]
    if empty := [number for number, row in enumerate(ids) if not row]:
        raise InvalidWorkload(f"a prompt needs at least one token, but prompt {empty[0]} of {len(ids)} has none")
    return Batch(tuple(row[:longest] for row in ids), tuple(map(len, ids)), pad_token)


def _ids(prompt: Prompt, tokenizer: Any, *, is_chat: bool) -> tuple[int, ...]:
    found: Any = prompt
    if isinstance(prompt, str) and is_chat:
        if not tokenizer.chat_template:
            raise InvalidWorkload("tokenizer_mode 'chat' needs a chat template, and the model has none: set 'default'")
        said = [{"role": "user", "content": prompt}]
        written = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        found = tokenizer(written, add_special_tokens=False)["input_ids"]
    elif isinstance(prompt, str):
        found = tokenizer(prompt)["input_ids"]
    return tuple(int(token) for token in found)
