"""What is asked of a service, and how fast: the part of an experiment that a user writes down."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_serializer, field_validator, model_validator

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.ids import content_digest, digest
from pytest_msprof.metric_table import check_limits
from pytest_msprof.redaction import redact
from pytest_msprof.workload_parts import Dataset, Lengths, Part, Positive, Prefixes, Sessions, Stages, Tokens, Trace

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
ENDS = ("duration", "trace", "dataset")
"""Fields that end a load by themselves, where `num_requests` does not."""


class Workload(Part):
    """A load: what is asked, how often, and how fast.

    The request stream is a function of (workload, seed, repeat), byte for byte.
    """

    input_tokens: Tokens | Lengths = 64
    """Tokens of each prompt, under the served model's tokenizer."""
    output_tokens: Tokens | Lengths = 64
    """Tokens asked for in each answer; the end-of-sequence token is ignored where the engine can."""
    concurrency: int | None = Field(None, ge=1)
    """Requests in flight at once; None is unlimited. Without a rate the default is 1; of stages, the most."""
    request_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Requests a second, open loop; None is a closed loop. Of stages, the mean."""
    arrival: Literal["poisson", "constant", "gamma", "burst"] = "poisson"
    """How requests come at a rate; a burst has none: all are due at once."""
    burstiness: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Shape of gamma arrivals: 1 is Poisson, below it requests crowd, above it they keep apart."""
    stages: Stages | None = None
    """Rates or concurrencies one after the other, in the place of a fixed one; they end the load."""
    num_requests: int | None = Field(48, ge=1)
    """Requests that are sent and counted; None leaves the end to a duration, a trace or a dataset."""
    duration: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Seconds after which no further request is sent."""
    warmup: int = Field(2, ge=0)
    """Requests sent before, and not counted."""
    prefixes: Prefixes | None = None
    """Beginnings that prompts share."""
    sessions: Sessions | None = None
    """Talks of several turns; None is one request a talk."""
    dataset: Dataset | None = None
    """Prompts from a file, in the place of synthetic ones."""
    trace: Trace | None = None
    """Times and lengths from a recorded load."""
    endpoint: str = "completions"
    """What is asked, by the name of its dialect: completions and chat are OpenAI's."""
    stream: bool = True
    """Whether the answer comes token by token, where the endpoint can."""
    ignore_eos: bool = True
    """Whether the engine goes on to the length asked for where the model would end."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of each request, such as `{"temperature": 0.7}`; without one answers are greedy."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request's body, as the engine knows them; secrets among them stand in no file."""
    models: dict[str, Positive] = Field(default_factory=dict)
    """Model or LoRA name → weight, for requests that go to several; empty is the service's own."""
    timeout: float = Field(120.0, gt=0)
    """Seconds after which one request counts as failed."""
    seed: int = 0
    """Seed of prompts, lengths and arrivals."""
    goodput: dict[str, Positive] = Field(default_factory=dict)
    """Metric → limit that a good request keeps, such as `{"ttft": 0.5, "tpot": 0.05}`; changes no request."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: object) -> object:
        """Close the loop where nothing opens it, and count requests where nothing else ends them."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        if filled.get("stages") is not None:
            stages = filled["stages"] = Stages.model_validate(filled["stages"])
            name, value = stages.as_load
            filled[name] = value if filled.get(name) is None else filled[name]
            given = stages.duration if filled.get("duration") is None else filled["duration"]
            filled["duration"] = min(given, stages.duration) if isinstance(given, int | float) else given
        if filled.get("concurrency") is None and not _opens(filled):
            filled["concurrency"] = 1
        if "num_requests" not in filled and any(filled.get(name) is not None for name in ENDS):
            filled["num_requests"] = None
        return filled

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        rates = self.stages is not None and bool(self.stages.request_rate)
        for one, other, asked in (
            ("request_rate", "arrival 'burst'", self.request_rate and self.arrival == "burst"),
            ("request_rate", "the times of a trace", self.request_rate and self.keeps_times),
            ("dataset", "trace", self.dataset and self.trace),
            ("prefixes", "dataset", self.prefixes and self.dataset),
            ("prefixes", "trace", self.prefixes and self.trace),
            ("sessions", "trace", self.sessions and self.trace),
            ("request_rate", "stages of it", rates and not self._agrees_with(self.stages)),
            ("concurrency", "stages of it", self.stages and not rates and not self._agrees_with(self.stages)),
        ):
            if asked:
                raise InvalidWorkload(f"a workload takes {one} or {other}, but got both")
        if self.num_requests is None and not any(getattr(self, name) for name in ENDS):
            raise InvalidWorkload(f"nothing ends this workload: give num_requests or one of {', '.join(ENDS)}")
        return self

    def _agrees_with(self, stages: Stages | None) -> bool:
        name, value = stages.as_load if stages else ("", None)
        return stages is None or getattr(self, name) == value

    @field_validator("goodput")
    @classmethod
    def _limits_of_requests(cls, limits: dict[str, float]) -> dict[str, float]:
        check_limits(limits)
        return limits

    @field_serializer("extra_body", when_used="json")
    def _without_secrets(self, fields: dict[str, Any]) -> dict[str, Any]:
        return redact(fields)

    @property
    def keeps_times(self) -> bool:
        """Whether requests are due when they came in a trace."""
        return self.trace is not None and self.trace.replay == "times"

    @property
    def is_open(self) -> bool:
        """Whether requests are sent when they are due, whatever the service does."""
        return _opens(dict(self))

    def with_load(self, *, concurrency: int | None = None, request_rate: float | None = None) -> Self:
        """Return the same requests under another load; a load that is not given stays."""
        changes: dict[str, object] = {}
        if concurrency is not None:
            changes["concurrency"] = concurrency
        if request_rate is not None:
            changes["request_rate"] = request_rate
        return type(self)(**{**dict(self), **changes})

    def hash(self, tokenizer: str = "") -> str:
        """Return the identity: what is asked and how fast, and the digest of the *tokenizer* that makes the prompts.

        A field that came later counts where it differs from its default, so that older hashes hold. A file
        counts by its content.
        """
        asked = self.model_dump(mode="json", exclude=set(UNASKED))
        default = type(self)().model_dump(mode="json")
        told = {name: value for name, value in asked.items() if name in ALWAYS_TOLD or value != default[name]}
        for name, part in (("dataset", self.dataset), ("trace", self.trace)):
            if part is not None and part.path.exists():
                told[name]["path"] = content_digest(part.path)
        return digest({"workload": told, "tokenizer": tokenizer})


def _opens(values: dict[str, Any]) -> bool:
    """Say whether these fields of a workload make an open loop."""
    if values.get("request_rate") is not None or values.get("arrival") == "burst":
        return True
    trace = values.get("trace")
    return trace is not None and Trace.model_validate(trace).replay == "times"
