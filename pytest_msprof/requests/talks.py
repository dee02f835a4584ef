"""Talks of several turns: which turns there are, and what each says once the answers are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, repeat
from typing import Any, NamedTuple

from pytest_msprof.requests.draws import uniforms
from pytest_msprof.requests.lengths import draw_lengths
from pytest_msprof.requests.request import Request
from pytest_msprof.requests.stream import Stream
from pytest_msprof.workload_parts import Sessions

__all__ = ["Talk", "Turn", "think_times", "turns_of"]


class Turn(NamedTuple):
    """The place of a request in its talk."""

    session: int = -1
    turn: int = 0
    think_time: float = 0.0


def turns_of(sessions: Sessions | None, stream: Stream) -> Iterator[Turn]:
    """Give the place of each request, without end: talk after talk, turn after turn."""
    if sessions is None:
        yield from repeat(Turn())
        return
    for session in count():
        turns = draw_lengths(sessions.turns, stream.key("turns", session), 1)[0]
        for turn, think_time in enumerate(think_times(sessions, stream, session, turns)):
            yield Turn(session, turn, think_time)


def think_times(sessions: Sessions, stream: Stream, session: int, turns: int) -> list[float]:
    """Return the seconds before each turn of one talk; nobody thinks before the first."""
    if sessions.thinking == "constant":
        return [0.0] + [sessions.think_time] * (turns - 1)
    drawn = uniforms(stream.key("think", session), turns - 1).tolist()
    return [0.0, *(-math.log(uniform) * sessions.think_time for uniform in drawn)]


@dataclass
class Talk:
    """One session as it goes on: give each turn to `ask`, and what came back to `hear`."""

    _messages: list[Mapping[str, Any]] = field(default_factory=list)
    _text: str = ""

    def ask(self, request: Request) -> Request:
        """Return *request* with all that was said before it."""
        said = request.messages if request.messages is not None else (_message("user", request.prompt),)
        self._messages.extend(said)
        self._text = f"{self._text}\n{request.prompt}" if self._text else request.prompt
        if request.turn == 0:
            return request
        return replace(request, messages=tuple(self._messages), prompt=self._text, input_tokens=-1)

    def hear(self, answer: str) -> None:
        """Take the answer to what was asked last."""
        self._messages.append(_message("assistant", answer))
        self._text += answer


def _message(role: str, content: str) -> Mapping[str, Any]:
    return {"role": role, "content": content}
