"""The open connections to one server: reused while they are fresh, opened where they are missing."""

from __future__ import annotations

import asyncio
import time

from msprof_plugins.load.connection import Connection
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.origin import Origin

__all__ = ["ConnectionPool"]

IDLE_LIMIT = 2.0
"""Seconds after which an idle connection is not trusted: servers close theirs after 5."""


class ConnectionPool:
    """Hands out connections, the one used last first."""

    def __init__(self, origin: Origin, timeout: float) -> None:
        self.origin, self.timeout = origin, timeout
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def prepare(self, number: int) -> None:
        """Have *number* fresh connections idle; what cannot be opened is left to the requests."""
        ready = sum(_is_fresh(connection) for connection in self._idle)
        opened = await asyncio.gather(*(self._new(Exchange(0)) for _ in range(number - ready)))
        self._idle += [connection for connection in opened if connection]

    async def take(self, exchange: Exchange) -> Connection | None:
        """Return a connection for *exchange*; None when the exchange failed because there is none."""
        while self._idle:
            connection = self._idle.pop()
            if _is_fresh(connection):
                return connection
            self._drop(connection)
        return await self._new(exchange)

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

    async def _new(self, exchange: Exchange) -> Connection | None:
        exchange.start = time.monotonic()
        try:
            connection = await Connection.open(self.origin, within=self.timeout)
        except OSError as error:
            reason = str(error) or f"no connection within {self.timeout:g} s"
            exchange.fail("connect", f"{self.origin.host}:{self.origin.port}: {reason}", time.monotonic())
            return None
        exchange.connect = time.monotonic() - exchange.start
        self._open.add(connection)
        return connection

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open.discard(connection)


def _is_fresh(connection: Connection) -> bool:
    return connection.is_open and time.monotonic() - connection.idle_since < IDLE_LIMIT
