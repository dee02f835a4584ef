"""The text of the requests: exact in length, and no two the same."""

from __future__ import annotations

from pathlib import Path

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import digest
from pytest_msprof.requests.vocabulary import vocabulary_of
from pytest_msprof.workload import Workload

__all__ = ["prompts", "warmup_prompts"]

FRUITLESS_ATTEMPTS = 8


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


def _stream(workload: Workload, tokenizer: Path | None, number: int, stream: tuple[str, int, int]) -> list[str]:
    vocabulary = vocabulary_of(tokenizer, with_specials=workload.endpoint == "completions")
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
