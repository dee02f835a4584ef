"""What a request may ask: the bodies of OpenAI's API that this server understands, and how it refuses others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, Field, ValidationError

__all__ = ["ChatRequest", "CompletionRequest", "Refused", "Wanted", "parsed"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "temperature": (0,),
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "suffix": ("",),
    "stop": ("", []),
    "min_tokens": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "response_format": ({"type": "text"},),
}
"""Options that would change an answer, and the values at which they do not: answers are greedy, one a request."""


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


class _StreamOptions(BaseModel):
    include_usage: bool = False


class Wanted(BaseModel):
    """What both endpoints take."""

    most_by_default: ClassVar[int | None] = None
    """Tokens of an answer where the request sets no limit; None is what is left of the model's length."""

    model: str = ""
    stream: bool = False
    stream_options: _StreamOptions | None = None
    ignore_eos: bool = False
    """Go on after the end-of-sequence token, as vLLM's API has it."""
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def most_tokens(self, left: int) -> int:
        """Return the limit of the answer where *left* tokens fit beside the prompt."""
        told = self.max_completion_tokens or self.max_tokens
        return told or min(self.most_by_default or left, left)

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
        if outside := [token for token in found if not 0 <= token < len(tokenizer)]:
            raise Refused(f"token ids must be below {len(tokenizer)}, but got {outside[0]}", param="prompt")
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


Body = TypeVar("Body", bound=Wanted)


def parsed(content: bytes, kind: type[Body]) -> Body:
    """Return the body of a request; raises `Refused` for what is no such body, or asks for what is not done here."""
    try:
        found = kind.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise Refused(f"{where}: {problem['msg']}" if where else problem["msg"], param=where or None) from None
    _check_neutral(content)
    return found


def _check_neutral(content: bytes) -> None:
    import json

    for name, value in json.loads(content).items():
        if name in NEUTRAL and value is not None and value not in NEUTRAL[name]:
            possible = " or ".join(map(json.dumps, NEUTRAL[name]))
            raise Refused(
                f"{name} {json.dumps(value)} is not supported: answers are greedy (possible: {possible})", param=name
            )
