"""What one event loop does of a load: warms up, sends its share of the requests, reads the answers."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.load.answers import read_answer, sample_of
from msprof_plugins.load.bodies import Bodies
from msprof_plugins.load.collector import SLICE, Collector, Failure, Reading
from msprof_plugins.load.dialects import find_dialect
from msprof_plugins.load.driver import Driver, Rules
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.open_files import room_for
from msprof_plugins.load.origin import Origin
from msprof_plugins.load.outbox import Outbox
from msprof_plugins.load.pool import ConnectionPool
from msprof_plugins.load.selfcheck import Findings, LoopProbe
from msprof_plugins.load.turns import Turns
from pytest_msprof.interfaces import LoadJob, Progress
from pytest_msprof.redaction import MASK, redact
from pytest_msprof.requests import Plan, Request, token_counter
from pytest_msprof.samples import Samples

__all__ = ["Outcome", "Share"]

PREOPENED = 64
"""Connections opened before the clock runs where nobody knows how many there will be."""
WARM_UP_CONCURRENCY = 16
SECRET_LENGTH = 6
"""Letters of a header's value from which on it may be a secret; shorter ones are in any text."""
SWITCH_INTERVAL = 0.0005
"""Seconds that a monitor's thread may keep the interpreter for while the event loop wants it, a tenth of the usual."""
TICK = 0.25
"""Seconds between two reports of how far the load has come."""


class Outcome(NamedTuple):
    """What came of a share of a load."""

    samples: Samples
    """In the order of the requests; times count from the begin."""
    numbers: NDArray[np.int64]
    """Which requests these are."""
    began: float
    """The moment of the monotonic clock from which their times count."""
    last_end: float
    """When the last one ended."""
    errors: Counter[str]
    first_failure: Failure | None
    findings: tuple[Findings, ...]
    """How each event loop did."""
    gave_up: bool
    stopped: bool


class Share:
    """Sends *plan* for a job."""

    def __init__(self, job: LoadJob, plan: Plan, *, patience: float) -> None:
        self._job, self.plan, self._patience = job, plan, patience
        workload, target = job.workload, job.target
        self._dialect = find_dialect(workload.endpoint, streams=workload.stream)
        self.origin = Origin.of(target.base_url, target.api_key, target.headers)
        self._bodies = Bodies(self._dialect, workload, target)
        self._outbox = Outbox(plan.requests, self._bytes_of)
        self._count_tokens = token_counter(target.tokenizer)
        self.collector = Collector(self._read, job.sink)
        values = [value for value in target.headers.values() if len(value) >= SECRET_LENGTH]
        self._secrets = [*values, *filter(None, [target.api_key])]
        self._begin = 0.0
        self._turns: Turns
        self._driver: Driver
        self._stopped = False

    def warm_up(self) -> None:
        """Send the warm-up requests only."""
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(self._only_warm_up())

    def run(self, begin: Callable[[], float] = time.monotonic) -> Outcome:
        """Warm up, ask when to *begin*, and send everything.

        An interrupt hands on what was measured first.
        """
        try:
            with (
                room_for(self._most_connections()),
                _undisturbed(),
                asyncio.Runner(loop_factory=_fast_loop()) as runner,
            ):
                findings = runner.run(self._load(begin))
        finally:
            self.collector.finish()
        samples, numbers = self.collector.samples()
        return Outcome(
            samples=samples,
            numbers=numbers,
            began=self._begin,
            last_end=self.collector.last_end,
            errors=self.collector.errors,
            first_failure=self.collector.first_failure,
            findings=(findings,),
            gave_up=self._driver.gave_up,
            stopped=self._stopped,
        )

    async def _only_warm_up(self) -> None:
        pool = self._pool()
        try:
            await self._warm_up(pool)
        finally:
            pool.close()

    async def _load(self, begin: Callable[[], float]) -> Findings:
        pool = self._pool()
        try:
            await self._warm_up(pool)
            await pool.prepare(self._connections_wanted())
            self._begin = begin()
            self._turns = self._make_turns()
            self._driver = Driver(pool, self._turns, self._outbox.take, self._rules(), self._end)
            probe = LoopProbe(lambda: self._driver.connections)
            await _beside(self._driver.run(), self.collector.run(), probe.run(), self._make_requests(), self._report())
            return probe.findings(backlog=self.collector.backlog, built_late=self._outbox.late)
        finally:
            pool.close()

    def _pool(self) -> ConnectionPool:
        return ConnectionPool(self.origin, self._job.workload.timeout)

    async def _warm_up(self, pool: ConnectionPool) -> None:
        """Send the requests that are not counted."""
        requests = self.plan.warm_up
        at_once = min(self.plan.concurrency or WARM_UP_CONCURRENCY, WARM_UP_CONCURRENCY)
        rules = Rules(self._job.workload.timeout, at_once)
        turns = Turns(requests, None, 0.0)
        made = [self._bytes_of(request) for request in requests]
        await Driver(pool, turns, made.__getitem__, rules, lambda _exchange: False).run()

    def _connections_wanted(self) -> int:
        """Say how many connections the first requests need."""
        plan = self.plan
        if plan.due is None:
            return min(plan.concurrency or PREOPENED, len(plan.requests))
        at_once = int(np.count_nonzero(plan.due <= TICK))
        return min(max(at_once, PREOPENED), plan.concurrency or at_once + PREOPENED, len(plan.requests))

    def _most_connections(self) -> int:
        """Say how many connections there may be at once, as far as that is known."""
        return min(self.plan.concurrency or PREOPENED, len(self.plan.requests))

    def _make_turns(self) -> Turns:
        duration = self._job.workload.duration
        end = self._begin + duration if duration and self.plan.due is None else math.inf
        requests = self.plan.requests
        # talks are built beforehand, all of them; what is not is not looked back at
        return Turns(requests, self.plan.due, self._begin, end, talks=isinstance(requests, list))

    def _rules(self) -> Rules:
        return Rules(
            timeout=self._job.workload.timeout,
            concurrency=self.plan.concurrency,
            stages=[stage._replace(start=self._begin + stage.start) for stage in self.plan.stages],
            patience=self._patience,
        )

    def _bytes_of(self, request: Request) -> bytes:
        return self.origin.request(self._bodies.path(request), json.dumps(self._bodies.body(request)).encode())

    def _end(self, exchange: Exchange) -> bool:
        """Take an exchange; say whether its talk may go on."""
        self.collector.add(exchange)
        if not self._turns.has_next_turn(exchange.number):
            return False
        content = read_answer(exchange, self._dialect)
        if not content.error:
            self._outbox.hear(exchange.number, "".join(content.texts))
        return not content.error

    def _read(self, exchange: Exchange) -> Reading:
        content = read_answer(exchange, self._dialect)
        sample = sample_of(exchange, content, self._begin, self._count_tokens)
        detail = redact(content.detail) if content.detail else ""
        for secret in self._secrets if detail else ():
            detail = detail.replace(secret, MASK)
        return Reading(sample, detail, exchange.ended - self._begin)

    async def _make_requests(self) -> None:
        """Make requests ahead of need, some between two turns of the event loop."""
        while True:
            end = time.monotonic() + SLICE
            while (made := self._outbox.make_one()) and time.monotonic() < end:
                pass
            await asyncio.sleep(0 if made else TICK / 50)

    async def _report(self) -> None:
        """Tell how far the load has come, and ask whether to go on."""
        job = self._job
        while True:
            await asyncio.sleep(TICK)
            if job.progress:
                job.progress(self._progress())
            if job.stop and job.stop():
                self._stopped = True
                self._driver.stop()

    def _progress(self) -> Progress:
        collector = self.collector
        ttfts = np.array(collector.late_ttfts) if collector.late_ttfts else np.array([math.nan])
        p50, p99 = np.percentile(ttfts, (50, 99))
        return Progress(
            elapsed=time.monotonic() - self._begin,
            running=self._driver.running,
            completed=collector.completed,
            failed=collector.errors.total(),
            output_tokens=collector.output_tokens,
            ttft_p50=float(p50),
            ttft_p99=float(p99),
        )


async def _beside(work: Coroutine[None, None, None], *helpers: Coroutine[None, None, None]) -> None:
    """Run *work* to its end with *helpers* beside it; a helper that fails ends the work."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in (work, *helpers)]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster event loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the garbage collector from walking what was there before the load, and other threads from going on long."""
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*before)
        gc.unfreeze()
