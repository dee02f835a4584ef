"""The open connections to one server: reused while they are fresh, opened where they are missing."""

from __future__ import annotations

import asyncio
import time

from msprof_plugins.load.connection import Connection
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.inbox import Inbox
from msprof_plugins.load.origin import Origin

__all__ = ["ConnectionPool"]

IDLE_LIMIT = 2.0
"""Seconds after which an idle connection is not trusted: servers close theirs after 5."""
CONNECT_TIMEOUT = 10.0
"""Seconds until a connection that does not come about has failed, where the request would wait longer."""
OPENED_AT_ONCE = 256
"""Connections that are being opened at the same time before a load, so that no backlog overflows."""


class ConnectionPool:
    """Hands out connections, the one used last first."""

    def __init__(self, origin: Origin, timeout: float) -> None:
        self.origin, self.timeout = origin, min(timeout, CONNECT_TIMEOUT)
        self._inbox = Inbox()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening = 0

    async def prepare(self, number: int) -> None:
        """Have *number* fresh connections idle; what cannot be opened is left to the requests."""
        gate = asyncio.Semaphore(OPENED_AT_ONCE)

        async def one() -> None:
            async with gate:
                await self._spare()

        missing = number - sum(_is_fresh(connection) for connection in self._idle)
        if missing > 0 and not await self._spare():
            return
        await asyncio.gather(*(one() for _ in range(missing - 1)))
        now = time.monotonic()
        for connection in self._idle:
            connection.idle_since = now if connection.is_open else connection.idle_since

    def expect(self, number: int) -> list[asyncio.Task[bool]]:
        """Begin to open what is missing for *number* requests that come soon."""
        fresh = sum(_is_fresh(connection) for connection in self._idle[-number:]) if number else 0
        return [asyncio.ensure_future(self._spare()) for _ in range(number - fresh - self._opening)]

    def idle(self) -> Connection | None:
        """Return a fresh connection, None where there is none."""
        while self._idle:
            connection = self._idle.pop()
            if _is_fresh(connection):
                return connection
            self._drop(connection)
        return None

    async def open(self, exchange: Exchange) -> Connection | None:
        """Return a new connection for *exchange*; None when the exchange failed because there is none."""
        exchange.start = time.monotonic()
        try:
            connection = await Connection.open(self.origin, self._inbox, within=self.timeout)
        except (OSError, UnicodeError) as error:
            reason = str(error) or f"no connection within {self.timeout:g} s"
            exchange.fail("connect", f"{self.origin.place}: {reason}", time.monotonic())
            return None
        exchange.connect = time.monotonic() - exchange.start
        self._open.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Take back a connection whose exchange ended."""
        if connection.is_open:
            self._idle.append(connection)
        else:
            self._drop(connection)

    def close(self) -> None:
        """Close every connection; answers that are still coming are lost."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._idle.clear()

    async def _spare(self) -> bool:
        """Open a connection for later; say whether there is one."""
        self._opening += 1
        try:
            connection = await self.open(Exchange(0))
        finally:
            self._opening -= 1
        if connection:
            self._idle.append(connection)
        return connection is not None

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open.discard(connection)


def _is_fresh(connection: Connection) -> bool:
    return connection.is_open and time.monotonic() - connection.idle_since < IDLE_LIMIT
