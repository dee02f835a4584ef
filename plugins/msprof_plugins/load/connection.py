"""A connection that is kept open: one request at a time, and the answer as HTTP frames it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httptools

from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.inbox import Inbox
from msprof_plugins.load.origin import Origin
from msprof_plugins.load.wire import Wire, open_wire

__all__ = ["Connection"]

HEAD_LIMIT = 1 << 20
"""Bytes a server may send before the body begins."""
BODY_LIMIT = 1 << 28
"""Bytes of one answer that are kept; no answer of a language model is longer."""
LENGTH_HEADERS = {b"content-length", b"transfer-encoding"}
TELLING_HEADERS = {b"content-type", b"content-encoding", b"location", b"retry-after"}


class Connection:
    """One connection; it carries one request at a time, and says when its answer ended."""

    def __init__(self) -> None:
        self._wire: Wire
        self.is_open = False
        self.idle_since = 0.0
        self.exchange: Exchange | None = None
        self._on_end: Callable[[Connection, Exchange], None]
        self._parts: list[bytes] = []
        # the parser binds its callbacks once: a list's own `append` takes the body without a Python frame
        self.on_body = self._parts.append
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._size, self._latest = 0, 0.0
        self._in_body = self._is_whole = self._is_reusable = self._ends_by_closing = False

    @classmethod
    async def open(cls, origin: Origin, inbox: Inbox, *, within: float) -> Connection:
        """Connect *within* seconds; raises OSError where that does not work."""
        connection = cls()
        connection.is_open = True  # before there is a wire: one that is lost at once says so before anybody has it
        async with asyncio.timeout(within):
            connection._wire = await open_wire(origin, inbox, connection)
        connection.idle_since = time.monotonic()
        return connection

    def send(self, exchange: Exchange, request: bytes, on_end: Callable[[Connection, Exchange], None]) -> None:
        """Send *request*; *on_end* is called when *exchange* has ended, well or not."""
        self.exchange, self._on_end = exchange, on_end
        self._size, self._in_body, self._is_whole, self._ends_by_closing = 0, False, False, True
        exchange.start = self._latest = time.monotonic()
        if self.is_open:
            self._wire.send(request)
        else:
            self._finish(exchange.start, "stream", "the server closed the connection before the request was sent")

    def close(self) -> None:
        """Close at once; an answer that is still coming is lost."""
        self.is_open = False
        self._wire.close()

    def fileno(self) -> int:
        """Return the descriptor, −1 once it is closed."""
        return self._wire.fileno() if self.is_open else -1

    def expire(self, now: float, words: str) -> None:
        """End the exchange because its time is over."""
        self._break(now, "timeout", words)

    def arrived(self, data: bytes | memoryview, moment: float) -> None:
        """Note when *data* came, and take HTTP's framing off."""
        exchange = self.exchange
        if exchange is None:
            self.close()
            return
        # a clock that was set may not turn the order of events around
        now = self._latest = max(self._latest, moment)
        self._size += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._break(now, "stream", f"not HTTP: {error}")
            return
        if self._in_body:
            exchange.times.append(now)
            exchange.marks.append(len(self._parts))
        if self._is_whole:
            if not self._is_reusable:
                self.close()
            self._finish(now)
        elif self._size > HEAD_LIMIT and (not self._in_body or self._size > BODY_LIMIT):
            what = f"{BODY_LIMIT} bytes of body" if self._in_body else f"{HEAD_LIMIT} bytes of header"
            self._break(now, "stream", f"more than {what}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Notice whether the answer says where it ends, and what explains it."""
        name = name.lower()
        if name in LENGTH_HEADERS:
            self._ends_by_closing = False
        elif name in TELLING_HEADERS and self.exchange is not None:
            self.exchange.headers[name.decode()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status."""
        self._in_body = True
        if self.exchange is not None:
            self.exchange.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        """Notice the end of the answer; only now does the parser know whether another may follow."""
        self._is_whole, self._is_reusable = True, self._parser.should_keep_alive()

    def lost(self, words: str) -> None:
        """End the exchange, well only if closing is how the server said the answer ends."""
        self.is_open = False
        if not words and self._in_body and self._ends_by_closing:
            self._finish(time.monotonic())
        else:
            words = words or "the server closed the connection before the answer was whole"
            self._finish(time.monotonic(), "stream", words)

    def _break(self, now: float, failure: str, detail: str) -> None:
        self.close()
        self._finish(now, failure, detail)

    def _finish(self, now: float, failure: str = "", detail: str = "") -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        exchange.parts = self._parts[:]
        self._parts.clear()
        if failure:
            exchange.fail(failure, detail, now)
        else:
            exchange.ended = now
        self.idle_since = now
        self._on_end(self, exchange)
