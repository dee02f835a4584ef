"""Judging an answer after it ended: whether it is a success, and the sample that it makes."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import sub

from msprof_plugins.load.dialects import Dialect
from msprof_plugins.load.exchange import NAN, SUCCESS, Exchange
from msprof_plugins.load.reading import QUOTED, Content, read_stream, read_whole
from pytest_msprof.samples import Sample

__all__ = ["read_answer", "sample_of"]

TOLD = {"retry-after": "Retry-After", "location": "Location"}
"""Headers that are quoted with a status that is no success."""


def read_answer(exchange: Exchange, dialect: Dialect) -> Content:
    """Read what arrived, and class the failure if it is one; what was measured is kept in any case."""
    if exchange.status != SUCCESS or _is_encoded(exchange):
        content = Content()
    else:
        read = read_stream if dialect.streams else read_whole
        content = read(exchange.segments(), dialect, whole=not exchange.failure)
    if not content.error:
        content.error, content.detail = _classify(exchange, content, dialect)
    return content


def _is_encoded(exchange: Exchange) -> bool:
    return exchange.headers.get("content-encoding", "identity").lower() != "identity"


def _classify(exchange: Exchange, content: Content, dialect: Dialect) -> tuple[str, str]:
    """Name what is wrong with an answer, empty for nothing."""
    if exchange.failure:
        return exchange.failure, exchange.detail
    if exchange.status != SUCCESS:
        told = [f"{name}: {exchange.headers[key]}" for key, name in TOLD.items() if key in exchange.headers]
        return f"status {exchange.status}", "; ".join([*told, _body(exchange)])
    if _is_encoded(exchange):
        encoding = exchange.headers["content-encoding"]
        return "encoded", f"the answer came in {encoding}, though only identity was accepted"
    if not content.times:
        return _contentless(exchange, dialect)
    if dialect.says_end and not content.finish_reason and not content.is_done:
        return "truncated", f"the answer ended after {len(content.times)} events without a finish reason or [DONE]"
    return "", ""


def _contentless(exchange: Exchange, dialect: Dialect) -> tuple[str, str]:
    if dialect.streams and exchange.headers.get("content-type", "").startswith("application/json"):
        return "not streamed", f"a stream was asked for, but one JSON document came: {_body(exchange)!r}"
    return "empty", f"no event with content in the answer: {_body(exchange)!r}"


def _body(exchange: Exchange) -> str:
    return b"".join(exchange.parts)[:QUOTED].decode(errors="replace")


def sample_of(
    exchange: Exchange, content: Content, origin: float, count_tokens: Callable[[str], int] | None = None
) -> Sample:
    """Turn an exchange into a sample whose times count from *origin*.

    Tokens are those of the server's usage; without one *count_tokens* counts the text, and where
    that is missing each event is taken for one. The requested length is never taken for the answer's.
    """
    start, times = exchange.start, content.times
    tokens, source = content.tokens, "usage"
    if tokens is None and not content.error:
        tokens, source = (count_tokens("".join(content.texts)), "tokenizer") if count_tokens else (len(times), "events")
    return Sample(
        due=(start if math.isnan(exchange.due) else exchange.due) - origin,
        start=start - origin,
        connect=exchange.connect,
        ttft=times[0] - start if times else NAN,
        latency=times[-1] - start if times else NAN,
        closed=NAN if exchange.failure else exchange.ended - start,
        input_tokens=content.prompt_tokens,
        output_tokens=-1 if tokens is None else tokens,
        first_tokens=content.first_tokens,
        gaps=tuple(map(sub, times[1:], times)),
        token_source="" if tokens is None else source,
        finish_reason=content.finish_reason,
        error=content.error,
    )
