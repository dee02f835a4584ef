"""The worker processes of a load: started, begun at one moment, listened to, and ended."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from msprof_plugins.load.division import joined
from msprof_plugins.load.messages import Assignment, Begin, Block, Done, Ready, Tick, receive, say
from msprof_plugins.load.share import Outcome
from pytest_msprof.errors import LoadError
from pytest_msprof.interfaces import LoadJob, Progress
from pytest_msprof.requests import Plan, output_tokens
from pytest_msprof.results import Value

__all__ = ["Crew"]

HEAD_START = 0.05
"""Seconds from the word to begin until the begin."""
TICK = 0.25
GRACE = 5.0
LAST_WORDS = 400


class _Said(NamedTuple):
    worker: int
    message: Any


class Crew:
    """Sends a job with several processes; use it as a context manager, which leaves none behind."""

    def __init__(self, job: LoadJob, plan: Plan, *, workers: int, patience: float) -> None:
        self._job, self._number = job, workers
        self._assigned = _without_callables(job, plan)
        self._patience = patience
        self._said: queue.Queue[_Said] = queue.Queue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listeners: list[threading.Thread] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        for index in range(self._number):
            log = self._files.enter_context(self._log(index).open("wb"))
            command = [sys.executable, "-m", "msprof_plugins.load.worker"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
            self._processes.append(process)
            listener = threading.Thread(target=self._listen, args=(index, process), daemon=True)
            listener.start()
            self._listeners.append(listener)
            self._tell(index, Assignment(self._assigned, index, self._number, self._patience))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.stdin:
                with suppress(OSError):
                    process.stdin.close()
        for process in self._processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for listener in self._listeners:
            listener.join()
        self._files.close()
        if kind is not None:
            self._keep_what_ended()

    def _keep_what_ended(self) -> None:
        """Hand on the requests that workers still told of when the load was interrupted."""
        while self._job.sink and not self._said.empty():
            message = self._said.get().message
            if isinstance(message, Block):
                self._job.sink(message.samples)

    def run(self) -> Outcome:
        """Send the load; raises `LoadError` where a worker ends without a result."""
        for _ in range(self._number):
            self._expect(Ready)
        begin = time.monotonic() + HEAD_START
        for index in range(self._number):
            self._tell(index, Begin(begin))
        outcomes: dict[int, Outcome] = {}
        ticks: dict[int, Progress] = {}
        told = begin
        while len(outcomes) < self._number:
            with suppress(queue.Empty):
                said = self._said.get(timeout=TICK)
                self._take(said, outcomes, ticks)
            if time.monotonic() - told >= TICK:
                told = time.monotonic()
                self._report(list(ticks.values()))
        return joined([outcomes[index] for index in range(self._number)])

    def _take(self, said: _Said, outcomes: dict[int, Outcome], ticks: dict[int, Progress]) -> None:
        match said.message:
            case Block(samples):
                if self._job.sink:
                    self._job.sink(samples)
            case Tick(progress):
                ticks[said.worker] = progress
            case Done(outcome):
                outcomes[said.worker] = outcome
            case None if said.worker not in outcomes:
                raise LoadError(self._death(said.worker))

    def _report(self, ticks: Sequence[Progress]) -> None:
        """Tell how far all have come, and ask whether to go on."""
        if ticks and self._job.progress:
            self._job.progress(_together(ticks))
        if self._job.stop and self._job.stop():
            for process in self._processes:
                if process.stdin and not process.stdin.closed:
                    process.stdin.close()

    def _expect(self, kind: type) -> None:
        said = self._said.get()
        if not isinstance(said.message, kind):
            raise LoadError(self._death(said.worker))

    def _listen(self, index: int, process: subprocess.Popen[bytes]) -> None:
        """Hand on what one worker says, and that it says nothing more."""
        message: Any = True
        while message is not None and process.stdout:
            message = receive(process.stdout)  # type: ignore[arg-type]  # IO[bytes] is what pipes are
            self._said.put(_Said(index, message))

    def _tell(self, index: int, message: object) -> None:
        stream = self._processes[index].stdin
        with suppress(OSError):  # one that has died already is heard of where it is listened to
            say(stream, message)  # type: ignore[arg-type]  # IO[bytes] is what pipes are

    def _log(self, index: int) -> Path:
        return self._job.folder / f"worker-{index}.log"

    def _death(self, index: int) -> str:
        code = self._processes[index].wait()
        words = self._log(index).read_text(encoding="utf-8", errors="replace").strip()[-LAST_WORDS:]
        return f"worker process {index} of the load ended without a result (exit code {code}): {words}"


def _without_callables(job: LoadJob, plan: Plan) -> LoadJob:
    """Return a job that can be sent to another process, with a table of options in the place of a function."""
    wanted = set(np.unique(output_tokens(plan.requests, np.arange(len(plan.requests)))).tolist())
    wanted |= {request.output_tokens for request in plan.warm_up}
    options = {tokens: dict(job.target.request_options(tokens)) for tokens in wanted}
    target = replace(job.target, request_options=partial(_option, options))
    return replace(job, target=target, sink=None, progress=None, stop=None, context=None)


def _option(options: Mapping[int, Mapping[str, Value]], tokens: int) -> Mapping[str, Value]:
    return options[tokens]


def _together(ticks: Sequence[Progress]) -> Progress:
    """Add up what the workers said; medians of times stand for all, the slowest percentile for the worst."""
    p50, p99 = (np.array([getattr(tick, name) for tick in ticks]) for name in ("ttft_p50", "ttft_p99"))
    has_any = np.isfinite(p50).any()
    return Progress(
        elapsed=max(tick.elapsed for tick in ticks),
        running=sum(tick.running for tick in ticks),
        completed=sum(tick.completed for tick in ticks),
        failed=sum(tick.failed for tick in ticks),
        output_tokens=sum(tick.output_tokens for tick in ticks),
        ttft_p50=float(np.nanmedian(p50)) if has_any else float("nan"),
        ttft_p99=float(np.nanmax(p99)) if has_any else float("nan"),
    )
