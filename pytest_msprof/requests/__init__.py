"""The requests of a load: their text, their lengths and when each is due, the same on every machine."""

from __future__ import annotations

from pytest_msprof.requests.arrivals import arrivals
from pytest_msprof.requests.planning import plan
from pytest_msprof.requests.prompts import prompts, warmup_prompts
from pytest_msprof.requests.request import Plan, Request, Stage
from pytest_msprof.requests.vocabulary import has_tokenizer, token_counter, tokenizer_digest

__all__ = [
    "Plan",
    "Request",
    "Stage",
    "arrivals",
    "has_tokenizer",
    "plan",
    "prompts",
    "token_counter",
    "tokenizer_digest",
    "warmup_prompts",
]
