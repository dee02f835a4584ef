"""A connection that is kept open and stamps every part of an answer where its bytes arrive."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import httptools

from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.origin import Origin

__all__ = ["Connection"]

HEAD_LIMIT = 1 << 20
"""Bytes a server may send before the body begins."""
NO_BODY_END = {b"content-length", b"transfer-encoding"}


class Connection(asyncio.Protocol):
    """One connection; it carries one request at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.is_open = False
        self.idle_since = 0.0
        self._exchange: Exchange | None = None
        self._ended: asyncio.Future[None]
        self._deadline: asyncio.TimerHandle
        self._parser: httptools.HttpResponseParser
        self._now = 0.0
        self._head = 0
        self._in_body = self._ends_by_closing = False

    @classmethod
    async def open(cls, origin: Origin, *, within: float) -> Connection:
        """Connect *within* seconds; raises OSError where that does not work."""
        async with asyncio.timeout(within):
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(cls, origin.host, origin.port, ssl=origin.tls)
        connection.idle_since = time.monotonic()
        return connection

    def send(self, exchange: Exchange, request: bytes, timeout: float) -> asyncio.Future[None]:
        """Send *request*; the future is done when *exchange* has ended, well or not."""
        self._ended = self.loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._head, self._in_body, self._ends_by_closing = 0, False, True
        self._exchange = exchange
        self._deadline = self.loop.call_later(timeout, self._expire, timeout)
        exchange.start = time.monotonic()
        if self.is_open:
            self.transport.write(request)
        else:
            self._finish("stream", "the server closed the connection before the request was sent")
        return self._ended

    def close(self) -> None:
        """Close at once; an answer that is still coming is lost."""
        self.is_open = False
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Stamp and take apart what arrived."""
        self._now = time.monotonic()
        if self._exchange is None:
            self.close()
            return
        if not self._in_body:
            self._head += len(data)
            if self._head > HEAD_LIMIT:
                self._finish("stream", f"more than {HEAD_LIMIT} bytes of header")
                self.close()
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish("stream", f"not HTTP: {error}")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - the parser's signature
        """Notice whether the answer says where it ends."""
        if name.lower() in NO_BODY_END:
            self._ends_by_closing = False

    def on_headers_complete(self) -> None:
        """Note the status."""
        self._in_body = True
        if self._exchange is not None:
            self._exchange.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body with its time."""
        if self._exchange is not None:
            self._exchange.times.append(self._now)
            self._exchange.parts.append(body)

    def on_message_complete(self) -> None:
        """End the exchange well."""
        reusable = self._parser.should_keep_alive()
        self._finish()
        if not reusable:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, well only if closing is how the server said the answer ends."""
        self.is_open = False
        self._now = time.monotonic()
        if exc is None and self._in_body and self._ends_by_closing:
            self._finish()
        else:
            self._finish("stream", str(exc or "the server closed the connection before the answer was whole"))

    def _expire(self, timeout: float) -> None:
        self._now = time.monotonic()
        self._finish("timeout", f"no whole answer within {timeout:g} s")
        self.close()

    def _finish(self, failure: str = "", detail: str = "") -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        now = self._now or time.monotonic()
        if failure:
            exchange.fail(failure, detail, now)
        else:
            exchange.ended = now
        self.idle_since = now
        self._deadline.cancel()
        if not self._ended.done():
            self._ended.set_result(None)
