"""What a request may ask: the bodies of OpenAI's API that this server understands, and how it refuses others."""

from __future__ import annotations

import json
import secrets
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from msprof_runners.serving.sampling import Sampling
from pytest_msprof.errors import UnknownName

__all__ = ["ChatRequest", "CompletionRequest", "Refused", "Wanted", "check_words", "parsed"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "prompt_logprobs": (False,),
    "suffix": ("",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "logit_bias": ({},),
    "use_beam_search": (False,),
    "add_special_tokens": (True,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "store": (False,),
}
"""Options that would change an answer in a way that is not done here, and the values at which they do not."""

ABOUT_THE_CLIENT = frozenset(
    {"metadata", "prompt_cache_key", "request_id", "safety_identifier", "service_tier", "user"}
)
"""Options that say who asks and why; no answer depends on them."""


class Refused(Exception):
    """A request that cannot be served, as the client is told."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    @property
    def body(self) -> dict[str, Any]:
        """The error in OpenAI's form."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"  # noqa: PLR2004 - HTTP's classes
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class _StreamOptions(BaseModel, extra="forbid"):
    include_usage: bool = False
    continuous_usage_stats: bool = False
    """Counts in every piece, as vLLM's API has it."""
    include_obfuscation: bool = False


class Wanted(BaseModel, extra="allow"):
    """What both endpoints take; what else a request has must not change its answer."""

    most_by_default: ClassVar[int | None] = None
    """Tokens of an answer where the request sets no limit; None is what is left of the model's length."""

    model: str = ""
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    """0 is greedy, and so is a request that names nothing of this and the next three."""
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=-1)
    """0 and -1 are all words."""
    min_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    seed: int | None = None
    """The same one gives the same answer; without one each answer is another."""
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    min_tokens: int = Field(0, ge=0)
    """Before so many tokens no token ends the answer, as vLLM's API has it."""
    ignore_eos: bool = False
    """Go on after the end-of-sequence token, as vLLM's API has it."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_nothing(cls, values: object) -> object:
        if isinstance(values, Mapping):
            return {name: value for name, value in values.items() if value is not None}
        return values

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def most_tokens(self, left: int) -> int:
        """Return the limit of the answer where *left* tokens fit beside the prompt."""
        told = self.max_completion_tokens or self.max_tokens
        return told or min(self.most_by_default or left, left)

    @property
    def counts_every_piece(self) -> bool:
        """Whether each piece of a stream has the counts so far."""
        return self.stream_options is not None and self.stream_options.continuous_usage_stats

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings before which the answer ends."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in given if stop)

    def ends(self, of_model: frozenset[int]) -> frozenset[int]:
        """Return the tokens that end the answer; those *of_model* are among them unless they are ignored."""
        return frozenset(self.stop_token_ids or ()) | (frozenset() if self.ignore_eos else of_model)

    def sampling(self, ends: frozenset[int]) -> Sampling:
        """Return how tokens are chosen, where *ends* would end the answer."""
        given = self.temperature
        if given is None:
            is_narrow = (self.top_p or 1) < 1 or (self.top_k or 0) > 0 or bool(self.min_p)
            given = 1.0 if is_narrow else 0.0
        return Sampling(
            temperature=given,
            top_p=self.top_p or 1.0,
            top_k=max(self.top_k or 0, 0),
            min_p=self.min_p or 0.0,
            seed=secrets.randbits(63) if self.seed is None else self.seed,
            min_tokens=self.min_tokens,
            ends=tuple(sorted(ends)),
        )

    @abstractmethod
    def token_ids(self, tokenizer: Any) -> tuple[int, ...]:
        """Return the token ids of the prompt; raises `Refused` for one that cannot be read."""


class CompletionRequest(Wanted):
    """The body of `/v1/completions`."""

    most_by_default: ClassVar[int | None] = 16

    prompt: str | list[int] | list[str] | list[list[int]]

    def token_ids(self, tokenizer: Any) -> tuple[int, ...]:
        """Return the token ids of the prompt; a list of one prompt is that prompt."""
        prompt: Any = self.prompt
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            if len(prompt) > 1:
                raise Refused(f"one prompt a request, but got {len(prompt)}", param="prompt")
            prompt = prompt[0]
        found = tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        check_words(found, tokenizer, param="prompt")
        return tuple(found)


class _Part(BaseModel):
    type: str
    text: str | None = None


class _Message(BaseModel, extra="allow"):
    role: str
    content: str | list[_Part] | None = None

    def spelled(self) -> dict[str, Any]:
        """Return the message as chat templates take it."""
        content = self.content or ""
        if not isinstance(content, str):
            if other := [part.type for part in content if part.text is None]:
                raise Refused(f"parts of a message must be text, but got {other[0]!r}", param="messages")
            content = "".join(part.text or "" for part in content)
        return {**(self.model_extra or {}), "role": self.role, "content": content}


class ChatRequest(Wanted):
    """The body of `/v1/chat/completions`."""

    messages: list[_Message] = Field(min_length=1)

    def token_ids(self, tokenizer: Any) -> tuple[int, ...]:
        """Return the token ids of the talk, as the model's chat template writes it."""
        if not tokenizer.chat_template:
            raise Refused("the model has no chat template: use /v1/completions", param="messages")
        talk = [message.spelled() for message in self.messages]
        try:
            text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is a stranger's program
            raise Refused(f"the model's chat template refused the messages: {error}", param="messages") from error
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def check_words(token_ids: Iterable[int], tokenizer: Any, *, param: str) -> None:
    """Raise `Refused` where one of *token_ids* is no word of the model."""
    if outside := [token for token in token_ids if not 0 <= token < len(tokenizer)]:
        raise Refused(f"token ids must be below {len(tokenizer)}, but got {outside[0]}", param=param)


Body = TypeVar("Body", bound=Wanted)


def parsed(content: bytes, kind: type[Body]) -> Body:
    """Return the body of a request; raises `Refused` for what is no such body, or asks for what is not done here."""
    try:
        found = kind.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise Refused(f"{where}: {problem['msg']}" if where else problem["msg"], param=where or None) from None
    for name, value in (found.model_extra or {}).items():
        if name not in ABOUT_THE_CLIENT:
            _check_neutral(name, value, known=kind.model_fields)
    return found


def _check_neutral(name: str, value: Any, *, known: Iterable[str]) -> None:
    if name not in NEUTRAL:
        raise Refused(str(UnknownName("option of a request", name, [*known, *NEUTRAL])), param=name)
    if not any(value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in NEUTRAL[name]):
        possible = " or ".join(map(json.dumps, NEUTRAL[name]))
        raise Refused(f"{name} {json.dumps(value)} is not supported (possible: {possible})", param=name)
