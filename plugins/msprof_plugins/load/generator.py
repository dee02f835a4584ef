"""The load generator `builtin`: prepares the requests, runs the load, sums up."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from msprof_plugins.load.answers import read_answer, sample_of
from msprof_plugins.load.bodies import Bodies
from msprof_plugins.load.collector import Collector, Reading
from msprof_plugins.load.dialects import find_dialect
from msprof_plugins.load.driver import Driver
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.lag import LoopProbe, notes_on_lag
from msprof_plugins.load.origin import Origin
from msprof_plugins.load.pool import ConnectionPool
from pytest_msprof.errors import LoadError, UnknownName
from pytest_msprof.interfaces import LoadGenerator, LoadJob
from pytest_msprof.metrics import measure, summarize
from pytest_msprof.redaction import MASK, redact
from pytest_msprof.requests import Request, has_tokenizer, plan, token_counter
from pytest_msprof.results import Measurement
from pytest_msprof.samples import Samples

__all__ = ["StreamingLoad"]

PATIENCE = 10.0
"""Seconds without any answer after which a load is given up."""
PREOPENED = 64
"""Connections opened before the clock runs, at most."""
WARM_UP_CONCURRENCY = 16


class StreamingLoad(LoadGenerator):
    """Streams completions and chats over kept connections, in this process.

    Definitions are those of `pytest_msprof.metrics`. The clock of a request starts with its first
    byte on an open connection; a success has status 200, content, an end that says so, and no error.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self.patience = patience

    def generate(self, job: LoadJob) -> Measurement:
        """Send the load and measure.

        Raises `LoadError` when no request succeeded. An interrupt hands on what was measured first.
        """
        if job.fields:
            raise UnknownName("field of load generator 'builtin'", next(iter(job.fields)), ())
        load = _Load(job, self.patience)
        try:
            with _calm_collector(), asyncio.Runner(loop_factory=_fast_loop()) as runner:
                runner.run(load.run())
        finally:
            load.collector.finish()
        return load.measurement()

    def warm_up(self, job: LoadJob) -> None:
        """Send the warm-up requests of *job* only, for a program that then sends the rest."""
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(_Load(job, self.patience).only_warm_up())


class _Load:
    """One load: what is sent, what came back."""

    def __init__(self, job: LoadJob, patience: float) -> None:
        self.job, self.workload = job, job.workload
        self.dialect = find_dialect(self.workload.endpoint, streams=self.workload.stream)
        self.origin = Origin.of(job.target.base_url, job.target.api_key)
        self.plan = plan(self.workload, tokenizer=job.target.tokenizer, repeat=job.repeat, step=job.step)
        self.warm_up, self.requests = self._requests(self.plan.warm_up), self._requests(self.plan.requests)
        self.due = self.plan.due
        self.count_tokens = token_counter(job.target.tokenizer)
        self.collector = Collector(self._read, job.sink)
        self.probe = LoopProbe()
        self.patience = patience
        self.readings: Sequence[Reading] = ()
        self.begin = 0.0
        self.gave_up = False

    async def run(self) -> None:
        """Warm up, then send everything."""
        pool = ConnectionPool(self.origin, self.workload.timeout)
        try:
            await self._warm_up(pool)
            await _beside(self._send(pool), self.collector.run(), self.probe.run())
        finally:
            pool.close()

    async def only_warm_up(self) -> None:
        """Warm up and leave."""
        pool = ConnectionPool(self.origin, self.workload.timeout)
        try:
            await self._warm_up(pool)
        finally:
            pool.close()

    def measurement(self) -> Measurement:
        """Sum up; raises `LoadError` when no request succeeded."""
        readings = self.readings = sorted(self.collector.readings)
        failures = [reading for reading in readings if reading.sample.error]
        if len(failures) == len(readings):
            raise LoadError(self._nothing(failures))
        samples = Samples.of([reading.sample for reading in readings])
        duration = max(reading.ended for reading in readings) - float(samples.start.min())
        lags = (samples.start - samples.due)[samples.ok] if self.workload.concurrency is None else np.empty(0)
        delays = np.array(self.probe.delays)
        notes = [*self._notes(samples, failures), *notes_on_lag(delays, lags, self.workload.request_rate)]
        report = json.dumps({"loop_delay": summarize(delays).root, "schedule_lag": summarize(lags).root}, indent=1)
        (self.job.folder / "client.json").write_text(report, encoding="utf-8")
        return measure(samples, duration, notes=tuple(notes), complete=not self.gave_up)

    def _requests(self, requests: Sequence[Request]) -> list[bytes]:
        """Make the bytes of each request, before the clock runs."""
        bodies = Bodies(self.dialect, self.workload, self.job.target)
        return [
            self.origin.request(bodies.path(request), json.dumps(bodies.body(request)).encode()) for request in requests
        ]

    async def _warm_up(self, pool: ConnectionPool) -> None:
        """Send the requests that are not counted, and open the connections of those that are."""
        driver = Driver(pool, timeout=self.workload.timeout, on_end=lambda _exchange: None, patience=self.patience)
        await driver.closed_loop(
            self.warm_up, min(self.workload.concurrency or WARM_UP_CONCURRENCY, WARM_UP_CONCURRENCY)
        )
        await pool.prepare(min(self.workload.concurrency or PREOPENED, PREOPENED, len(self.requests)))

    async def _send(self, pool: ConnectionPool) -> None:
        driver = Driver(pool, timeout=self.workload.timeout, on_end=self.collector.add, patience=self.patience)
        self.begin = time.monotonic()
        if self.due is None:
            await driver.closed_loop(self.requests, self.workload.concurrency or 1)
        else:
            await driver.open_loop(self.requests, self.due.tolist(), self.workload.concurrency)
        self.gave_up = driver.gave_up

    def _read(self, exchange: Exchange) -> Reading:
        answer = read_answer(exchange, self.dialect)
        sample = sample_of(exchange, answer, self.begin, self.count_tokens)
        detail = redact(answer.detail)
        if self.job.target.api_key:
            detail = detail.replace(self.job.target.api_key, MASK)
        return Reading(exchange.number, sample, detail, exchange.ended - self.begin)

    def _nothing(self, failures: Sequence[Reading]) -> str:
        """Say that nothing was measured, and why."""
        wanted, where = len(self.requests), f"{self.origin.host}:{self.origin.port}"
        if not failures:
            return f"none of {wanted} requests to {where} ended"
        classes = Counter(reading.sample.error for reading in failures)
        listed = ", ".join(f"{name}: {count}" for name, count in classes.most_common())
        first = min(failures, key=lambda reading: reading.ended)
        return f"none of {wanted} requests to {where} succeeded ({listed}); the first: {_quote(first)}"

    def _notes(self, samples: Samples, failures: Sequence[Reading]) -> Iterator[str]:
        """Say what a reader of the figures must know."""
        if self.gave_up:
            yield (
                f"given up after {len(samples)} of {len(self.requests)} requests: "
                f"nothing was answered for {self.patience:g} s"
            )
        if failures:
            yield f"{len(failures)} of {len(samples)} requests failed, the first: {_quote(failures[0])}"
        if not has_tokenizer(self.job.target.tokenizer):
            yield "no tokenizer: the lengths of prompts are words, not tokens"
        wanted = np.array([self.plan.requests[reading.number].output_tokens for reading in self.readings])[samples.ok]
        answered = samples.output_tokens[samples.ok]
        if others := int(((answered != wanted) & (answered != 0)).sum()):
            asked = f"{wanted.min()}" if wanted.min() == wanted.max() else f"{wanted.min()} to {wanted.max()}"
            yield f"{others} of {wanted.size} answers have another length than the {asked} tokens asked for"
        sources = set(samples.token_source[samples.ok].tolist())
        if "tokenizer" in sources:
            yield "output tokens were counted by the tokenizer: the engine did not say"
        if "events" in sources:
            yield "output tokens are events: the engine did not say, and there is no tokenizer"


def _quote(reading: Reading) -> str:
    return f"{reading.sample.error}: {reading.detail}" if reading.detail else reading.sample.error


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
def _calm_collector() -> Iterator[None]:
    """Keep the garbage collector from walking everything that was there before the load."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
