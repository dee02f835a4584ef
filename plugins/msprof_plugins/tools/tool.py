"""Running a load generator of somebody else: refuse, prepare, run, read, account."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.interpreters import Engine, find_interpreter
from msprof_plugins.load import StreamingLoad
from msprof_plugins.load.selfcheck import Findings, limits, mean_gap, notes_on_client
from msprof_plugins.tool_results import NothingSucceeded, ToolResult
from msprof_plugins.tools.order import Order
from pytest_msprof.errors import ConfigurationError, InvalidWorkload, LoadError, UnknownName
from pytest_msprof.interfaces import LoadGenerator, LoadJob, Target
from pytest_msprof.metrics import measure
from pytest_msprof.redaction import MASK, redact
from pytest_msprof.requests import Plan, plan
from pytest_msprof.results import Measurement
from pytest_msprof.samples import Samples
from pytest_msprof.workload import Workload

__all__ = ["ANY", "OFFLINE", "Tool"]

Times = NDArray[np.float64]

START_UP = 300.0
"""Seconds a tool may take beside its requests: most import for 20, on a busy machine for longer."""
ASKED_EVERY = 0.25
"""Seconds between two looks at a running tool."""
OFFLINE = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"}

UNSEEN = Findings(0.0, 0.0, np.empty(0), np.empty(0), backlog=0, built_late=0)
"""What is known of the inside of another program: nothing."""

ANY: tuple[Any, ...] = ()
"""Stands for every value of a workload's field."""
COMMON: Mapping[str, tuple[Any, ...]] = {
    "input_tokens": ANY,
    "output_tokens": ANY,
    "concurrency": ANY,
    "request_rate": ANY,
    "num_requests": ANY,
    "warmup": ANY,
    "prefixes": ANY,
    "dataset": ANY,
    "endpoint": ("completions", "chat"),
    "ignore_eos": ANY,
    "sampling": ANY,
    "extra_body": ANY,
    "timeout": ANY,
    "seed": ANY,
    "goodput": ANY,
}
"""What every tool here can do: the requests are ours, the warm-up is sent by us, and we judge the answers."""


class Tool(LoadGenerator):
    """Sends our requests through another tool, and measures what it tells of each.

    The prompts are those of the built-in generator, byte for byte, and so is the warm-up. What the
    workload asks for and the tool cannot do is refused by name before anything starts.
    """

    name: ClassVar[str]
    """As it is registered."""
    engine: ClassVar[Engine]
    """How it is found, and how it is installed."""
    can: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Fields of the workload that it can do beyond the common ones, with the values; others must keep their default."""

    @abstractmethod
    def command(self, order: Order) -> Sequence[str]:
        """Return the command line, and write what it names."""

    @abstractmethod
    def read(self, order: Order) -> ToolResult:
        """Read what the tool left in the folder."""

    def environment(self, order: Order) -> Mapping[str, str]:
        """Return variables for the tool; a key belongs here, where nobody can read it."""
        del order
        return {}

    def notes(self, order: Order, result: ToolResult) -> Iterator[str]:
        """Say what a reader of the figures must know beyond what the result says."""
        measured, wanted = result.measurement, {request.output_tokens for request in order.plan.requests}
        if measured.failed:
            sent = measured.completed + measured.failed
            yield f"{measured.failed} of {sent} requests failed, the first: {redact(result.first_error)}"
        if measured.samples is None or len(wanted) != 1:
            return
        answered, length = measured.samples.output_tokens[measured.samples.ok], wanted.pop()
        if others := int((answered != length).sum()):
            yield (
                f"{others} of {answered.size} answers have another length than the {length} tokens asked for; "
                f"the tool takes truncated answers for successes"
            )

    def generate(self, job: LoadJob) -> Measurement:
        """Run the tool, check that its result is fresh and adds up, and measure.

        Raises `EngineNotInstalled` with the command that installs it, `InvalidWorkload` for what it
        cannot do, and `LoadError` when it fails or no request succeeded, whatever its exit code says.
        """
        order = self.order(job)
        command = self.command(order)
        StreamingLoad().warm_up(job)
        self._run(command, order)
        result = self.read(order) if job.workload.stream else in_one_piece(self.read(order))
        measured = result.accounted(len(order.plan.requests))
        lags, ttfts = _lags(order, measured.samples)
        if job.sink is not None and measured.samples is not None:
            job.sink(measured.samples)
        gap = mean_gap(measured.samples.due) if measured.samples is not None else 0.0
        notes = (*measured.notes, *self.notes(order, result), *notes_on_client(UNSEEN, lags, gap))
        return replace(measured, notes=notes, client_limited=limits(UNSEEN, lags, ttfts))

    def order(self, job: LoadJob) -> Order:
        """Return what the tool is to do for *job*, in a fresh folder; raises as `generate` does."""
        if job.context is None:
            raise ConfigurationError(f"{self.name} starts a program and needs a launch context")
        if job.fields:
            raise UnknownName(f"field of load generator {self.name!r}", next(iter(job.fields)), ())
        self._check_fields(job.workload)
        self._check_target(job.target)
        interpreter = find_interpreter(self.engine, rootdir=job.context.rootdir)
        folder = job.folder / self.name
        folder.mkdir(parents=True)
        planned = plan(job.workload, tokenizer=job.target.tokenizer, repeat=job.repeat, step=job.step)
        if job.workload.trace and any(request.turn for request in planned.requests):
            self.refuse("trace", "with sessions", "without sessions")
        return Order(self.name, job, job.context, planned, folder, interpreter)

    def _check_fields(self, workload: Workload) -> None:
        """Refuse each field that the tool cannot do, and say what it can."""
        able, default = {**COMMON, **self.can}, Workload()
        for field in Workload.model_fields:
            value = getattr(workload, field)
            allowed = able.get(field, (getattr(default, field),))
            if allowed is not ANY and value not in allowed:
                self.refuse(field, value, *allowed)

    def _check_target(self, target: Target) -> None:
        """Refuse what no tool here can be told without showing it to others, or at all."""
        if target.headers:
            names = ", ".join(map(repr, target.headers))
            raise ConfigurationError(
                f"load generator {self.name!r} would write headers where others can read them, so it sends none, but "
                f"{names} was asked for (possible: an API key; 'builtin' sends headers)"
            )
        if target.base_url.startswith("unix:"):
            raise ConfigurationError(
                f"load generator {self.name!r} cannot reach the socket {target.base_url} (possible: http:// and "
                f"https:// URLs; 'builtin' speaks to sockets)"
            )

    def check_talks(self, order: Order) -> None:
        """Refuse talks that are no chats: nobody carries texts on."""
        if order.job.workload.sessions is not None and not order.is_chat:
            self.refuse("endpoint", order.job.workload.endpoint, "chat")

    def refuse(self, field: str, value: object, *possible: object) -> NoReturn:
        """Raise `InvalidWorkload` for a *value* that the tool cannot do."""
        listed = ", ".join(map(repr, possible))
        raise InvalidWorkload(
            f"load generator {self.name!r} cannot do {field}={value!r} (possible: {listed}; 'builtin' can do all)"
        )

    def _run(self, command: Sequence[str], order: Order) -> None:
        """Run the tool to its end; an interrupt ends it with us."""
        job, name = order.job, self.engine.program
        process = order.context.launcher(
            command, name=name, env=self._variables(order), cwd=order.folder, log_path=order.folder / "tool.log"
        )
        deadline = START_UP + _longest(job.workload, order.plan)
        try:
            waited = 0.0
            while not process.wait(ASKED_EVERY):
                waited += ASKED_EVERY
                if waited >= deadline:
                    raise LoadError(f"{name} did not end within {deadline:g} s: {self._tail(process.log_tail(5), job)}")
                if job.stop is not None and job.stop():
                    raise LoadError(f"{name} was stopped: it writes its result at the end only")
            if process.returncode != 0:
                why = self._first_failure(order) or self._tail(process.log_tail(5), job)
                raise LoadError(f"{name} ended with exit code {process.returncode}: {why}")
        finally:
            process.stop()

    def _first_failure(self, order: Order) -> str:
        """Return what every request failed of, where that is why the tool failed."""
        try:
            self.read(order)
        except NothingSucceeded as nothing:
            return str(nothing)
        except LoadError:
            pass
        return ""

    def _variables(self, order: Order) -> dict[str, str]:
        """Return our environment without a key for somebody else's service, and with the tool's own."""
        ours = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
        return {**OFFLINE, **ours, **self.environment(order)}

    @staticmethod
    def _tail(text: str, job: LoadJob) -> str:
        key = job.target.api_key
        return redact(text.replace(key, MASK) if key else text)


def in_one_piece(result: ToolResult) -> ToolResult:
    """Return the result of answers that did not stream: each came at once, with all of its tokens."""
    measured, samples = result.measurement, result.measurement.samples
    if samples is None:
        return result
    latency = np.where(samples.ok & np.isnan(samples.latency), samples.closed, samples.latency)
    whole = replace(samples, ttft=latency, latency=latency, first_tokens=np.maximum(samples.output_tokens, 1))
    return replace(result, measurement=measure(whole, measured.duration, notes=measured.notes))


def _longest(workload: Workload, planned: Plan) -> float:
    """Return the seconds that the requests of a load may take together."""
    number = len(planned.requests)
    waves = math.ceil(number / workload.concurrency) if workload.concurrency else 1
    sending = float(np.nanmax(planned.due)) if planned.due is not None else 0.0
    return waves * workload.timeout + 2 * sending


def _lags(order: Order, samples: Samples | None) -> tuple[Times, Times]:
    """Return how late the requests of an open loop without a cap started, and the times to first token."""
    if samples is None or order.plan.due is None or order.plan.concurrency is not None:
        return np.empty(0), np.empty(0)
    return (samples.start - samples.due)[samples.ok], samples.ttft[samples.ok]
