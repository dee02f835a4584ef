"""Reading an answer after it ended: what came when, how many tokens, and whether it is a success."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from msprof_plugins.load.dialects import Dialect, Piece
from msprof_plugins.load.events import events
from msprof_plugins.load.exchange import NAN, SUCCESS, Exchange
from pytest_msprof.samples import Sample

__all__ = ["Answer", "read_answer", "sample_of"]

DONE = b"[DONE]"
DECODER = json.JSONDecoder()
QUOTED = 300
"""Characters of an error answer that are quoted."""


@dataclass(slots=True)
class Answer:
    """What the events of one answer say."""

    times: list[float] = field(default_factory=list)
    """When each event with content was complete."""
    texts: list[str] = field(default_factory=list)
    finish_reason: str = ""
    is_done: bool = False
    """Whether the stream ended with `[DONE]`."""
    tokens: int | None = None
    first_tokens: int = 1
    prompt_tokens: int = -1
    error: str = ""
    """Class of the failure, empty for a success."""
    detail: str = ""


def read_answer(exchange: Exchange, dialect: Dialect) -> Answer:
    """Read what arrived, and class the failure if it is one; what was measured is kept in any case."""
    answer = Answer()
    if exchange.status == SUCCESS:
        for moment, data in _events(exchange, dialect):
            if data.strip() == DONE:
                answer.is_done = True
            elif (piece := _piece(data, dialect)) is not None:
                _take(answer, moment, piece)
            elif not exchange.failure:
                answer.error, answer.detail = "stream", f"an event cannot be read: {data[:QUOTED]!r}"
    if not answer.error:
        answer.error, answer.detail = _classify(exchange, answer, dialect)
    return answer


def _events(exchange: Exchange, dialect: Dialect) -> Iterable[tuple[float, bytes]]:
    """Give the events of a stream; an answer in one piece is one event, there when its last byte was."""
    if dialect.streams:
        return events(exchange.times, exchange.parts)
    return [(exchange.times[-1], b"".join(exchange.parts))] if exchange.times else []


def _piece(data: bytes, dialect: Dialect) -> Piece | None:
    """Read one event; None where it is no JSON, or of a shape that the endpoint does not have."""
    try:
        return dialect.read(DECODER.decode(data.decode()))
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


def _take(answer: Answer, moment: float, piece: Piece) -> None:
    """Add one event to the answer; events without content move no clock."""
    if piece.error:
        answer.error, answer.detail = "error event", piece.error[:QUOTED]
        return
    if piece.text:
        if not answer.times:
            answer.first_tokens = piece.tokens or 1
        answer.times.append(moment)
        answer.texts.append(piece.text)
    answer.finish_reason = piece.finish_reason or answer.finish_reason
    if piece.tokens is not None:
        answer.tokens = piece.tokens
    if piece.prompt_tokens is not None:
        answer.prompt_tokens = piece.prompt_tokens


def _classify(exchange: Exchange, answer: Answer, dialect: Dialect) -> tuple[str, str]:
    """Name what is wrong with an answer, empty for nothing."""
    if exchange.failure:
        return exchange.failure, exchange.detail
    if exchange.status != SUCCESS:
        return f"status {exchange.status}", b"".join(exchange.parts)[:QUOTED].decode(errors="replace")
    if not answer.times:
        body = b"".join(exchange.parts)[:QUOTED].decode(errors="replace")
        return "empty", f"no event with content in the answer: {body!r}"
    if dialect.says_end and not answer.finish_reason and not answer.is_done:
        return "truncated", f"the answer ended after {len(answer.times)} events without a finish reason or [DONE]"
    return "", ""


def sample_of(
    exchange: Exchange, answer: Answer, origin: float, count_tokens: Callable[[str], int] | None = None
) -> Sample:
    """Turn an exchange into a sample whose times count from *origin*.

    Tokens are those of the server's usage; without one *count_tokens* counts the text, and where
    that is missing each event is taken for one. The requested length is never taken for the answer's.
    """
    start, times = exchange.start, answer.times
    tokens, source = answer.tokens, "usage"
    if tokens is None and not answer.error:
        tokens, source = (count_tokens("".join(answer.texts)), "tokenizer") if count_tokens else (len(times), "events")
    return Sample(
        due=(start if math.isnan(exchange.due) else exchange.due) - origin,
        start=start - origin,
        connect=exchange.connect,
        ttft=times[0] - start if times else NAN,
        latency=times[-1] - start if times else NAN,
        closed=NAN if exchange.failure else exchange.ended - start,
        input_tokens=answer.prompt_tokens,
        output_tokens=-1 if tokens is None else tokens,
        first_tokens=answer.first_tokens,
        gaps=tuple(later - earlier for earlier, later in pairwise(times)),
        token_source="" if tokens is None else source,
        finish_reason=answer.finish_reason,
        error=answer.error,
    )
