"""Sending the requests of a load: so many at once, or each when it is due."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence

from msprof_plugins.load.connection import Connection
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.pool import ConnectionPool

__all__ = ["Driver"]

HEAD_START = 0.05
"""Seconds before a request is due at which its connection is made ready."""
TIMER_STEP = 0.001
"""Event loops wait in whole milliseconds; the rest is waited for awake."""


class Driver:
    """Sends requests over a pool and hands over each exchange as it ends.

    It gives up when every request that ended for *patience* seconds broke on the wire or was refused.
    """

    def __init__(
        self, pool: ConnectionPool, *, timeout: float, on_end: Callable[[Exchange], None], patience: float = math.inf
    ) -> None:
        self.pool, self.timeout, self.on_end, self.patience = pool, timeout, on_end, patience
        self.gave_up = False
        self._failures = 0
        self._failing_since = math.inf
        self._work: asyncio.Task[None]

    async def closed_loop(self, requests: Sequence[bytes], concurrency: int) -> None:
        """Keep *concurrency* requests in flight until all were sent."""
        numbers = iter(range(len(requests)))

        async def client() -> None:
            for number in numbers:
                exchange = Exchange(number)
                await self._send(exchange, requests[number], await self.pool.take(exchange))

        async def clients() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(requests))):
                    group.create_task(client())

        await self._run(clients())

    async def open_loop(self, requests: Sequence[bytes], due: Sequence[float], concurrency: int | None) -> None:
        """Send each request when it is due, *due* counting from now; at most *concurrency* at once."""
        begin = time.monotonic() + HEAD_START
        slots = asyncio.Semaphore(concurrency or len(requests))

        async def client(number: int) -> None:
            exchange = Exchange(number, due=begin + due[number])
            ready = None if concurrency else await self.pool.take(exchange)
            await _until(exchange.due)
            async with slots:
                connection = await self.pool.take(exchange) if concurrency else ready
                await self._send(exchange, requests[number], connection)

        async def schedule() -> None:
            async with asyncio.TaskGroup() as group:
                for number, offset in enumerate(due):
                    await _until(begin + offset - HEAD_START)
                    group.create_task(client(number))

        await self._run(schedule())

    async def _run(self, work: Coroutine[None, None, None]) -> None:
        self._work = asyncio.ensure_future(work)
        try:
            await self._work
        except asyncio.CancelledError:
            if not self.gave_up:
                raise

    async def _send(self, exchange: Exchange, request: bytes, connection: Connection | None) -> None:
        """Send one request and wait for its end; without a connection it has failed already."""
        if connection is not None:
            await connection.send(exchange, request, self.timeout)
            self.pool.give_back(connection)
        self.on_end(exchange)
        self._watch(exchange)

    def _watch(self, exchange: Exchange) -> None:
        """Give up when nothing has been answered for too long."""
        if exchange.arrived_well:
            self._failures, self._failing_since = 0, math.inf
            return
        self._failures += 1
        self._failing_since = min(self._failing_since, exchange.start)
        if self._failures > 1 and exchange.ended - self._failing_since >= self.patience:
            self.gave_up = True
            self._work.cancel()


async def _until(moment: float) -> None:
    """Wait for *moment* of the monotonic clock, never less."""
    while (left := moment - time.monotonic()) > 0:  # noqa: ASYNC110 - a moment is no event
        await asyncio.sleep(left - TIMER_STEP if left > TIMER_STEP else 0)
