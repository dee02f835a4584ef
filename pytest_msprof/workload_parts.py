"""The parts of a workload that take several words: lengths, prefixes, sessions, traces, datasets, stages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pytest_msprof.errors import InvalidWorkload

__all__ = ["Bin", "Dataset", "Lengths", "Part", "Positive", "Prefixes", "Sessions", "Stages", "Tokens", "Trace"]

BRANCHES = ("constrained-int", "Lengths")
"""What pydantic calls the two ways to give a length."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """What a user writes down and nobody changes; a mistake is told in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidWorkload(_first_line(error, type(self))) from None


class Bin(NamedTuple):
    """Lengths from *low* to *high*, both among them, as often as *weight* says beside the other bins."""

    low: Tokens
    high: Tokens
    weight: Positive


class Lengths(Part):
    """How many tokens, drawn anew for each request."""

    distribution: Literal["uniform", "normal", "lognormal", "histogram"]
    low: Tokens = 1
    """Fewest; what is drawn below counts as this."""
    high: Tokens | None = None
    """Most; what is drawn above counts as this."""
    mean: Positive | None = None
    """Mean of the lengths before they are bounded, of normal and lognormal ones."""
    std: Positive | None = None
    """Their standard deviation; of the lengths, not of their logarithms."""
    bins: tuple[Bin, ...] = ()
    """The histogram."""

    @classmethod
    def uniform(cls, low: int, high: int) -> Self:
        """Make every length from *low* to *high* equally likely."""
        return cls(distribution="uniform", low=low, high=high)

    @classmethod
    def normal(cls, mean: float, std: float, *, low: int = 1, high: int | None = None) -> Self:
        """Make lengths of a normal distribution, bounded."""
        return cls(distribution="normal", mean=mean, std=std, low=low, high=high)

    @classmethod
    def lognormal(cls, mean: float, std: float, *, low: int = 1, high: int | None = None) -> Self:
        """Make lengths of a log-normal distribution, bounded: many short ones, few very long ones."""
        return cls(distribution="lognormal", mean=mean, std=std, low=low, high=high)

    @classmethod
    def histogram(cls, *bins: tuple[int, int, float]) -> Self:
        """Make lengths as often as they were counted, each bin as (low, high, weight)."""
        return cls(distribution="histogram", bins=bins)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        needed = {"uniform": ("high",), "histogram": ("bins",)}.get(self.distribution, ("mean", "std"))
        if missing := [name for name in needed if not getattr(self, name)]:
            raise InvalidWorkload(f"{self.distribution} lengths need {' and '.join(missing)}")
        for low, high in [(self.low, self.high or self.low), *((low, high) for low, high, _ in self.bins)]:
            if high < low:
                raise InvalidWorkload(f"lengths from {low} to {high} are none: the first must not exceed the second")
        return self


class Prefixes(Part):
    """Texts that several prompts begin with, as system prompts are; engines may know them already.

    Warm-up requests begin with them in turn: with at least *number* of them each prefix was seen once.
    """

    number: int = Field(1, ge=1)
    """Different prefixes."""
    tokens: Tokens
    """Length of each; it is part of the prompt's."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of the prompts that begin with one."""


class Sessions(Part):
    """Talks of several turns: each request carries the turns before it, with the answers that really came.

    `num_requests` counts turns, `concurrency` talks at once, `request_rate` talks begun a second, and
    `input_tokens` what is new in a turn.
    """

    turns: Tokens | Lengths
    """Turns of each talk; those of a dataset may be fewer."""
    think_time: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Seconds from an answer to the next turn, on average."""
    thinking: Literal["constant", "exponential"] = "constant"
    """How think times differ."""


class Trace(Part):
    """A recorded load: when requests came, how long they were, what they had in common.

    Formats: `mooncake` (JSON lines: `timestamp` in ms, `input_length`, `output_length`, `hash_ids` of
    blocks of 512 tokens; aiperf's `session_id`, `delay` in ms, `text_input`, `messages` and `extra`),
    `azure` (CSV: `TIMESTAMP,ContextTokens,GeneratedTokens`), `burstgpt` (CSV: `Timestamp` in s, `Request
    tokens`, `Response tokens`, maybe `Session ID`; failed requests are left out).
    """

    path: Path
    format: Literal["mooncake", "azure", "burstgpt", "auto"] = "auto"
    """How the file is written; auto looks at its first line."""
    replay: Literal["times", "lengths"] = "times"
    """Send requests when they came, or take their lengths and send them as the workload says."""
    time_scale: Positive = 1.0
    """Seconds of the load for each second of the trace: 0.5 is twice as fast."""
    block_tokens: Tokens = 512
    """Tokens that one hash id of `mooncake` stands for."""


class Dataset(Part):
    """Prompts from a file, in an order drawn by the seed.

    Formats: `sharegpt` (JSON: a list of `conversations`), `jsonl` (a `prompt` or OpenAI `messages` a
    line, with content parts as they are; maybe `output_tokens`; other fields go into the body), `hf`
    (a folder that `datasets` saved, or its Arrow or Parquet files).
    """

    path: Path
    format: Literal["sharegpt", "jsonl", "hf", "auto"] = "auto"
    """How it is written; auto goes by the name of the file."""
    column: str = ""
    """Column that holds the prompt, where it is none of prompt, messages, conversations, question, text."""
    split: str = ""
    """Split of a dataset in a folder, where it has several."""
    lengths: Literal["answers", "workload"] = "answers"
    """Where a row has an answer, ask for as many tokens as that has, or for `output_tokens`."""
    longest: Tokens | None = None
    """Leave out rows whose prompt has more tokens."""
    again: bool = False
    """Send rows again when there are too few; prefix caches then know them."""


class Stages(Part):
    """A load that changes while it runs: one rate or concurrency after the other."""

    request_rate: tuple[Positive, ...] = ()
    """Requests a second, stage after stage."""
    concurrency: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Requests in flight, stage after stage."""
    seconds: Positive
    """How long each stage lasts; on a ramp, the way from one value to the next."""
    ramp: bool = False
    """Go from value to value in a straight line, not in steps."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if bool(self.request_rate) == bool(self.concurrency):
            found = "both" if self.request_rate else "neither"
            raise InvalidWorkload(f"stages change either request_rate or concurrency, but got {found}")
        if self.ramp and len(self.values) == 1:
            raise InvalidWorkload(f"a ramp leads through two values at least, but got {self.values[0]:g} alone")
        return self

    @property
    def values(self) -> tuple[float, ...]:
        """The rates or concurrencies."""
        return self.request_rate or self.concurrency

    @property
    def as_load(self) -> tuple[str, float]:
        """What a workload says of these stages in one number: the mean rate, or the most requests in flight."""
        if self.concurrency:
            return "concurrency", max(self.concurrency)
        rates = self.request_rate
        if self.ramp:
            rates = tuple((low + high) / 2 for low, high in pairwise(rates))
        return "request_rate", sum(rates) / len(rates)

    @property
    def duration(self) -> float:
        """Seconds of all stages."""
        return self.seconds * (len(self.values) - self.ramp)


def _first_line(error: ValidationError, model: type[BaseModel]) -> str:
    """Say what was wrong with one field, and which fields there are."""
    problem = error.errors()[0]
    kind = "workload" if model.__name__ == "Workload" else model.__name__.lower()
    name = ".".join(str(part) for part in problem["loc"] if part not in BRANCHES) or kind
    if problem["type"] == "extra_forbidden":
        return f"unknown {kind} field {name!r} (known: {', '.join(model.model_fields)})"
    return f"{kind} field {name!r}: {problem['msg'].lower()}, but got {problem['input']!r}"
