"""A fixed set of questions to a service, and how far two sets of answers agree, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.http_client import ask
from pytest_msprof.requests.tokenizers import has_tokenizer, read_tokenizer

if TYPE_CHECKING:
    from pytest_msprof.service import Service

__all__ = ["OUTPUT_TOKENS", "PROMPTS", "Answers", "agreement", "ask_probes"]

Answers = list[list[Any]]
"""The tokens of each answer: numbers of the model's tokenizer, words where it has none."""
OUTPUT_TOKENS = 16
"""Short: once two answers part, greedy decoding leads them further and further apart."""
PROMPTS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "In the year 1969, the first people",
    "def fibonacci(n):\n    ",
    "Once upon a time there was a",
    "The chemical symbol of gold is",
    "SELECT name, age FROM users WHERE",
    "To make a cup of tea, first",
    "2 + 2 = 4, 3 + 3 = 6, 4 + 4 =",
    "The three primary colours are",
    "Dear Sir or Madam,",
    "import numpy as np\n\n",
    "Le petit chat est",
    "Monday, Tuesday, Wednesday,",
    "The opposite of hot is",
    "A haiku about the sea:",
)
ENDPOINTS = ("/v1/completions", "/v1/chat/completions")
NOT_THERE = (404, 405, 501)
TIMEOUT = 120.0
DYING = 0.5


def ask_probes(service: Service) -> Answers:
    """Ask *service* every prompt, one after the other, greedily and for a fixed number of tokens.

    Raises `ServiceExited` where the engine dies of it, `LoadError` where it refuses, and
    `ConfigurationError` where it has neither completions nor chat.
    """
    folder = service.target.tokenizer
    tokenizer = read_tokenizer(folder) if folder is not None and has_tokenizer(folder) else None
    return [_tokens(_answer(service, prompt), tokenizer) for prompt in PROMPTS]


def agreement(reference: Answers, answers: Answers) -> float:
    """Return the share of the reference's tokens up to which the answers are the same, 0 to 1.

    A token counts where it and all before it are equal: behind the first difference the model is
    asked something else. Empty answers agree with nothing.
    """
    same = sum(_common(one, other) for one, other in zip(reference, answers, strict=True))
    longest = sum(max(len(one), len(other)) for one, other in zip(reference, answers, strict=True))
    return same / longest if longest else 0.0


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return how many tokens two answers begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _answer(service: Service, prompt: str) -> str:
    status, text = 0, ""
    for endpoint in ENDPOINTS:
        question = {"messages": [{"role": "user", "content": prompt}]} if "chat" in endpoint else {"prompt": prompt}
        options = service.target.request_options(OUTPUT_TOKENS)
        body = {"model": service.model, **question, "max_tokens": OUTPUT_TOKENS, **options}
        try:
            answer = ask(f"{service.base_url}{endpoint}", body, key=service.target.api_key, timeout=TIMEOUT)
        except OSError as error:
            service.check(patience=DYING)
            raise _failed(service, f"failed: {error}") from error
        if answer.ok:
            return _text(answer.body)
        status, text = answer.status, answer.text
        if status not in NOT_THERE:
            break
    if status in NOT_THERE:
        raise ConfigurationError(
            f"agreement cannot be measured: {service.engine} has neither {' nor '.join(ENDPOINTS)}; "
            "subject_to={'agreement': None} leaves it out"
        )
    service.check(patience=DYING)
    raise _failed(service, f"was refused with {status}: {text[:200]!r}")


def _failed(service: Service, how: str) -> LoadError:
    error = LoadError(f"a probe of the answers {how}")
    error.log_tail = service.log_tail()
    return error


def _text(body: Any) -> str:
    try:
        choice = body["choices"][0]
        return str(choice["text"] if "text" in choice else choice["message"].get("content") or "")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise LoadError(f"the answer to a probe cannot be read: {str(body)[:200]!r}") from None


def _tokens(text: str, tokenizer: Any) -> list[Any]:
    return text.split() if tokenizer is None else list(tokenizer.encode(text, add_special_tokens=False).ids)
