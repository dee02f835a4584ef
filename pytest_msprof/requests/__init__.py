"""The requests of a load: their text, their lengths and when each is due, the same on every machine."""

from __future__ import annotations

from pytest_msprof.requests.growing import Growing, output_tokens
from pytest_msprof.requests.planning import plan, prompts
from pytest_msprof.requests.request import Plan, Request, Stage
from pytest_msprof.requests.talks import Talk
from pytest_msprof.requests.tokenizers import has_tokenizer, token_counter, tokenizer_digest

__all__ = [
    "Growing",
    "Plan",
    "Request",
    "Stage",
    "Talk",
    "has_tokenizer",
    "output_tokens",
    "plan",
    "prompts",
    "token_counter",
    "tokenizer_digest",
]
