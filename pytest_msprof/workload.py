"""What is asked of a service, and how fast: the part of an experiment that a user writes down."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import digest

__all__ = ["Workload"]


class Workload(BaseModel):
    """A load: synthetic prompts of exact length, sent at a concurrency or a rate.

    The request stream is a function of (workload, seed, repeat), byte for byte.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_tokens: int = Field(64, ge=1)
    """Tokens of each prompt, under the served model's tokenizer."""
    output_tokens: int = Field(64, ge=1)
    """Tokens asked for in each answer; the end-of-sequence token is ignored where the engine can."""
    concurrency: int | None = Field(None, ge=1)
    """Requests in flight at once; None is unlimited. Without a rate the default is 1."""
    request_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Requests a second, open loop with Poisson arrivals; None is a closed loop."""
    num_requests: int = Field(48, ge=1)
    """Requests that are sent and counted."""
    warmup: int = Field(2, ge=0)
    """Requests sent before, and not counted."""
    endpoint: Literal["completions", "chat"] = "completions"
    """The OpenAI endpoint."""
    timeout: float = Field(120.0, gt=0)
    """Seconds after which one request counts as failed."""
    seed: int = 0
    """Seed of prompts and arrivals."""

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidWorkload(_first_line(error, type(self))) from None

    @model_validator(mode="before")
    @classmethod
    def _closed_loop_by_default(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("concurrency") is None and values.get("request_rate") is None:
            return {**values, "concurrency": 1}
        return values

    def with_load(self, *, concurrency: int | None = None, request_rate: float | None = None) -> Self:
        """Return the same requests under another load; a load that is not given stays."""
        changes: dict[str, object] = {}
        if concurrency is not None:
            changes["concurrency"] = concurrency
        if request_rate is not None:
            changes["request_rate"] = request_rate
        return type(self)(**{**self.model_dump(), **changes})

    def hash(self, tokenizer: str = "") -> str:
        """Return the identity: all fields, and the digest of the *tokenizer* that makes the prompts."""
        return digest({"workload": self.model_dump(mode="json"), "tokenizer": tokenizer})


def _first_line(error: ValidationError, model: type[BaseModel]) -> str:
    """Say what was wrong with one field, and which fields there are."""
    problem = error.errors()[0]
    name = ".".join(map(str, problem["loc"])) or "workload"
    if problem["type"] == "extra_forbidden":
        return f"unknown workload field {name!r} (known: {', '.join(model.model_fields)})"
    return f"workload field {name!r}: {problem['msg'].lower()}, but got {problem['input']!r}"
