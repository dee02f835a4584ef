"""What is asked of a service, and how fast: the part of an experiment that a user writes down."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import digest
from pytest_msprof.metric_table import check_limits

__all__ = ["Workload"]

ALWAYS_TOLD = (
    "input_tokens",
    "output_tokens",
    "concurrency",
    "request_rate",
    "num_requests",
    "warmup",
    "endpoint",
    "timeout",
    "seed",
)
"""Fields of the first version, which its hashes cover whatever their value."""
UNASKED = ("goodput",)
"""Fields that judge the answers and change no request."""


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
    endpoint: str = "completions"
    """What is asked, by the name of its dialect: completions and chat are OpenAI's."""
    stream: bool = True
    """Whether the answer comes token by token, where the endpoint can."""
    ignore_eos: bool = True
    """Whether the engine goes on to the length asked for where the model would end."""
    sampling: dict[str, Any] = {}
    """Sampling parameters of each request, such as `{"temperature": 0.7}`; without one answers are greedy."""
    extra_body: dict[str, Any] = {}
    """Further fields of each request's body, as the engine knows them."""
    goodput: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """Metric → limit that a good request keeps, such as `{"ttft": 0.5, "tpot": 0.05}`; changes no request."""
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

    @field_validator("goodput")
    @classmethod
    def _limits_of_requests(cls, limits: dict[str, float]) -> dict[str, float]:
        check_limits(limits)
        return limits

    def with_load(self, *, concurrency: int | None = None, request_rate: float | None = None) -> Self:
        """Return the same requests under another load; a load that is not given stays."""
        changes: dict[str, object] = {}
        if concurrency is not None:
            changes["concurrency"] = concurrency
        if request_rate is not None:
            changes["request_rate"] = request_rate
        return type(self)(**{**self.model_dump(), **changes})

    def hash(self, tokenizer: str = "") -> str:
        """Return the identity: what is asked and how fast, and the digest of the *tokenizer* that makes the prompts.

        A field that came later counts where it differs from its default, so that older hashes hold.
        """
        asked = self.model_dump(mode="json", exclude=set(UNASKED))
        default = type(self)().model_dump(mode="json")
        told = {name: value for name, value in asked.items() if name in ALWAYS_TOLD or value != default[name]}
        return digest({"workload": told, "tokenizer": tokenizer})


def _first_line(error: ValidationError, model: type[BaseModel]) -> str:
    """Say what was wrong with one field, and which fields there are."""
    problem = error.errors()[0]
    name = ".".join(map(str, problem["loc"])) or "workload"
    if problem["type"] == "extra_forbidden":
        return f"unknown workload field {name!r} (known: {', '.join(model.model_fields)})"
    return f"workload field {name!r}: {problem['msg'].lower()}, but got {problem['input']!r}"
