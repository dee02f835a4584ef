"""Reading a stream segment by segment, after it ended: what came when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from msprof_plugins.load.dialects import Dialect, Piece
from msprof_plugins.load.events import data_of, next_event
from msprof_plugins.load.runs import Template, learn

__all__ = ["QUOTED", "Content", "read_stream", "read_whole"]

DONE = b"[DONE]"
DECODER = json.JSONDecoder()
QUOTED = 300
"""Characters of an error answer that are quoted."""


@dataclass(slots=True)
class Content:
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
    """Class of what went wrong, empty for nothing."""
    detail: str = ""

    def take(self, moment: float, piece: Piece) -> None:
        """Add one event; events without content move no clock."""
        if piece.error:
            self.error, self.detail = "error event", piece.error[:QUOTED]
            return
        if piece.text:
            if not self.times:
                self.first_tokens = piece.tokens or 1
            self.times.append(moment)
            self.texts.append(piece.text)
        self.finish_reason = piece.finish_reason or self.finish_reason
        if piece.tokens is not None:
            self.tokens = piece.tokens
        if piece.prompt_tokens is not None:
            self.prompt_tokens = piece.prompt_tokens


def read_stream(segments: Iterable[tuple[float, bytes]], dialect: Dialect, *, whole: bool = True) -> Content:
    """Read the events in *segments*, each with the time of the segment that completed it.

    What follows the last blank line counts as an event too: some servers leave out the end of the
    last one. An event that cannot be read is an error, unless the stream is not *whole*.
    """
    reader = _Reader(dialect, whole=whole)
    moment = 0.0
    for moment, data in segments:
        reader.feed(moment, data)
    if reader.rest:
        reader.event(moment, reader.rest)
    return reader.content


def read_whole(segments: Iterable[tuple[float, bytes]], dialect: Dialect, *, whole: bool = True) -> Content:
    """Read an answer in one piece: one event, there when its last byte was."""
    reader, arrived = _Reader(dialect, whole=whole), list(segments)
    if arrived:
        reader.data(arrived[-1][0], b"".join(data for _, data in arrived))
    return reader.content


class _Reader:
    """Takes a stream apart, runs of equal events at once, and the others one by one."""

    def __init__(self, dialect: Dialect, *, whole: bool) -> None:
        self._dialect, self._whole = dialect, whole
        self._template: Template | None = None
        self.content = Content()
        self.rest = b""

    def feed(self, moment: float, data: bytes) -> None:
        """Read the events that *data* completes."""
        if self.rest:
            data, self.rest = self.rest + data, b""
        begin, size = 0, len(data)
        while begin < size:
            if self._template is not None and (after := self._run(moment, data, begin)) > begin:
                begin = after
                continue
            found = next_event(data, begin)
            if found is None:
                self.rest = data[begin:]
                return
            self.event(moment, data[begin : found[0]])
            begin = found[1]

    def _run(self, moment: float, data: bytes, begin: int) -> int:
        """Read a run of events of the template; return where it ends."""
        texts, end = self._template.texts(data, begin) if self._template else ([], begin)
        if texts and not all(texts):
            texts = [text for text in texts if text]
        self.content.texts += texts
        self.content.times += [moment] * len(texts)
        return end

    def event(self, moment: float, event: bytes) -> None:
        """Read one event, and learn what those after it may look like."""
        data = data_of(event)
        if not data:
            return
        piece = self.data(moment, data)
        if piece is not None and piece == Piece(text=piece.text):
            self._template = learn(event, piece.text) if piece.text else self._template

    def data(self, moment: float, data: bytes) -> Piece | None:
        """Read the data of one event; None where it is no JSON, or of a shape that the endpoint does not have."""
        if data.strip() == DONE:
            self.content.is_done = True
            return None
        try:
            piece = self._dialect.read(DECODER.decode(data.decode()))
        except (ValueError, TypeError, AttributeError, LookupError):
            if self._whole:
                self.content.error = "stream"
                self.content.detail = f"an event cannot be read: {data[:QUOTED]!r}"
            return None
        self.content.take(moment, piece)
        return piece
