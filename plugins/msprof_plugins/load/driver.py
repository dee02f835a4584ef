"""Sending the requests of a load: as many at once as are allowed, each when it may go."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msprof_plugins.load.alarm import Alarm
from msprof_plugins.load.connection import Connection
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.pool import ConnectionPool
from msprof_plugins.load.turns import Turns
from pytest_msprof.requests import Stage

__all__ = ["Driver", "Rules"]

HEAD_START = 0.05
"""Seconds before a request is due at which its connection is made ready."""
PERIOD = 0.02
"""Seconds between two looks at what expires and what comes soon."""


class Rules(NamedTuple):
    """What a driver keeps to."""

    timeout: float
    """Seconds after which a request has failed."""
    concurrency: int | None = None
    """Most requests in flight, None without a limit."""
    stages: Sequence[Stage] = ()
    """Where this limit changes, on the monotonic clock."""
    patience: float = math.inf
    """Seconds of nothing but broken connections and refusals after which the load is given up."""


class Driver:
    """Sends what *turns* gives over a pool, and hands over each exchange as it ends.

    There is no task a request: the end of an answer sends the next request, in the same turn of the
    event loop and on the same connection.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        turns: Turns,
        request: Callable[[int], bytes],
        rules: Rules,
        on_end: Callable[[Exchange], bool],
    ) -> None:
        self._pool, self._turns, self._request, self._rules = pool, turns, request, rules
        self._on_end = on_end
        self._limit: float = rules.concurrency or math.inf
        self._stages = list(rules.stages)
        self._running: dict[int, Connection] = {}
        self._waiting: set[asyncio.Task[None] | None] = set()
        self._over: asyncio.Future[None]
        self._alarm: Alarm
        self._failures, self._failing_since = 0, math.inf
        self.gave_up = False

    @property
    def running(self) -> int:
        """Requests in flight, those without a connection yet included."""
        return len(self._running) + len(self._waiting)

    @property
    def _has_room(self) -> bool:
        """Whether there is a slot for another request or talk."""
        return len(self._running) + len(self._waiting) + self._turns.thinking < self._limit

    @property
    def connections(self) -> Iterable[Connection]:
        """Those that wait for an answer, the oldest request first."""
        return self._running.values()

    async def run(self) -> None:
        """Send everything; returns when the last answer ended, or the load was stopped or given up."""
        self._over = asyncio.get_running_loop().create_future()
        self._alarm = Alarm(self._pump)
        tending = asyncio.ensure_future(self._tend())
        try:
            self._pump()
            await self._over
        finally:
            self.stop()
            self._alarm.close()
            tending.cancel()
            for task in filter(None, self._waiting):
                task.cancel()

    def stop(self) -> None:
        """Send nothing more, and forget what is in flight."""
        if not self._over.done():
            self._over.set_result(None)

    def _pump(self) -> None:
        """Send what may go, and see to it that what comes later is sent then."""
        now = time.monotonic()
        while self._stages and self._stages[0].start <= now:
            self._limit = self._stages.pop(0).concurrency
        while not self._over.done() and (found := self._turns.take(now, may_open=self._has_room)):
            self._begin(*found, self._pool.idle())
        self._arm(now)

    def _arm(self, now: float) -> None:
        if self.running == 0 and self._turns.is_over(now):
            self.stop()
            return
        moment = math.inf if self._turns.is_over(now) else self._turns.moment(may_open=self._has_room)
        self._alarm.set(min(moment, self._stages[0].start if self._stages else math.inf))

    def _begin(self, number: int, due: float, connection: Connection | None) -> None:
        exchange = Exchange(number, due)
        if connection is None:
            task = asyncio.ensure_future(self._open_and_send(exchange))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        else:
            self._running[number] = connection
            connection.send(exchange, self._request(number), self._ended)

    async def _open_and_send(self, exchange: Exchange) -> None:
        connection = await self._pool.open(exchange)
        self._waiting.discard(asyncio.current_task())
        if connection is None:
            self._account(exchange)
            self._pump_soon()
        else:
            self._running[exchange.number] = connection
            connection.send(exchange, self._request(exchange.number), self._ended)

    def _ended(self, connection: Connection, exchange: Exchange) -> None:
        """Account for an answer, and send the next request where the last one came."""
        if self._over.done():
            return
        del self._running[exchange.number]
        self._account(exchange)
        if connection.is_open and (found := self._turns.take(exchange.ended, may_open=self._has_room)):
            self._begin(*found, connection)
        else:
            self._pool.give_back(connection)
            self._pump_soon()

    def _pump_soon(self) -> None:
        """Pump in a turn of its own: where everything fails at once, the stack would grow with each request."""
        asyncio.get_running_loop().call_soon(self._pump)

    def _account(self, exchange: Exchange) -> None:
        if self._on_end(exchange):
            self._turns.heard(exchange.number, exchange.ended)
        if exchange.arrived_well:
            self._failures, self._failing_since = 0, math.inf
            return
        self._failures += 1
        self._failing_since = min(self._failing_since, exchange.start)
        if self._failures > 1 and exchange.ended - self._failing_since >= self._rules.patience:
            self.gave_up = True
            self.stop()

    async def _tend(self) -> None:
        """End what takes too long, and open connections ahead of need."""
        opening: set[asyncio.Task[bool]] = set()
        while True:
            now = time.monotonic()
            self._expire(now)
            room = self._limit - self.running
            soon = int(min(self._turns.soon(now + HEAD_START), room))
            opening.update(self._pool.expect(soon))
            await asyncio.sleep(PERIOD)
            opening = {task for task in opening if not task.done()}

    def _expire(self, now: float) -> None:
        """End the oldest requests; those behind one that may go on are younger."""
        oldest = now - self._rules.timeout
        for connection in list(self._too_old(oldest)):
            connection.expire(now, f"no whole answer within {self._rules.timeout:g} s")

    def _too_old(self, oldest: float) -> list[Connection]:
        found = []
        for connection in self._running.values():
            if connection.exchange is None or connection.exchange.start > oldest:
                break
            found.append(connection)
        return found
