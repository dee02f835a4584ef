"""The processes of a divided runner, seen from the one that started them: asked together, ended together."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from msprof_runners.rank import Reply, Source, connected
from msprof_runners.scratch import scratch_folder
from msprof_runners.world import RENDEZVOUS
from pytest_msprof import errors
from pytest_msprof.errors import MsprofError, ServiceError, ServiceExited
from pytest_msprof.failures import classify
from pytest_msprof.process import EngineProcess

__all__ = ["RankProcesses"]

PATIENCE = 5.0
"""Seconds that the others have to report the same error; who waits for a failed process never answers."""
LAST_WORDS = 10.0
"""Seconds until it is known how a process ended whose connection broke."""
LOG_LINES = 1000
ONE_RANK = "from msprof_runners.rank import main; main()"
"""Not `-m`: a module that runs as `__main__` sends objects that nobody else can receive."""


class RankProcesses:
    """Processes that each hold a part of one model."""

    def __init__(self, process: EngineProcess, connections: Mapping[int, Connection], resources: ExitStack) -> None:
        self._process, self._connections, self._resources = process, connections, resources

    @classmethod
    def start(cls, kind: type, settings: Mapping[str, Any], *, count: int, launch_id: str) -> Self:
        """Start *count* processes that each make a runner of class *kind* with *settings*.

        Their output goes to `.msprof/logs/<launch_id>/runner.log`, each line with the rank that wrote it.
        They end with this process, however it ends. Raises what making the runner raises there.
        """
        source = Source.of(kind)
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder())
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(scratch / "socket"))
            listener.listen(count)
            leader = [sys.executable, "-m", "msprof_runners.rank_leader", str(count)]
            process = EngineProcess.start(
                [*leader, sys.executable, "-c", ONE_RANK, str(scratch / "socket")],
                name=f"runner of {count} processes",
                env=_environment(count, scratch),
                cwd=Path.cwd(),
                log_path=Path(".msprof", "logs", launch_id, "runner.log").absolute(),
            )
            stack.enter_context(process)
            ranks = cls(process, {}, stack)
            ranks._connections = ranks._accepted(listener, count)
            for connection in ranks._connections.values():
                connection.send((source, dict(settings), launch_id))
            ranks._answers()
            ranks._resources = stack.pop_all()
        return ranks

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call *method* of the runner, or of its attributes, in every process; return what the first one's returned.

        Raises what it raised, and `ServiceExited` where a process died; then all are gone.
        """
        if not self._connections:
            raise ServiceError(f"{self._process.name} has ended; its log: {self._process.log_path}")
        try:
            for connection in self._connections.values():
                connection.send((method, arguments, options))
            return self._answers()
        except BrokenPipeError:
            raise self._death() from None

    @property
    def is_alive(self) -> bool:
        """Whether they can be asked: one that died ends them all."""
        return bool(self._connections)

    def stop(self) -> None:
        """End all processes, and return when they are gone."""
        self._connections = {}
        self._resources.close()

    def _accepted(self, listener: socket.socket, count: int) -> dict[int, Connection]:
        found: dict[int, Connection] = {}
        while len(found) < count:
            if listener not in wait([listener, self._process.fileno()]):
                raise self._death()
            connection = connected(listener.accept()[0])
            found[connection.recv()] = self._resources.enter_context(connection)
        return found

    def _answers(self) -> Any:
        """Return what the first process answers, when all have; raises the error that one of them reports."""
        replies: dict[int, Reply] = {}
        try:
            self._collect(replies)
        except BaseException:
            self.stop()
            raise
        failed = {rank: reply for rank, reply in replies.items() if reply.error}
        if not failed:
            return replies[0].value
        alive = len(failed) == len(self._connections)
        if not alive:
            self.stop()
        raise self._error(*min(failed.items()), alone=not alive)

    def _collect(self, replies: dict[int, Reply]) -> None:
        """Fill *replies*; after an error, with what comes soon."""
        deadline: float | None = None
        waiting: dict[Any, int] = {connection: rank for rank, connection in self._connections.items()}
        ended = self._process.fileno()
        while waiting:
            ready = wait([*waiting, ended], None if deadline is None else max(0, deadline - time.monotonic()))
            for connection in [entry for entry in waiting if entry in ready]:
                rank = waiting.pop(connection)
                with suppress(EOFError, ConnectionResetError):
                    replies[rank] = connection.recv()
            failed = [reply for reply in replies.values() if reply.error]
            if ended in ready or len(replies) + len(waiting) < len(self._connections):
                if any(reply.is_ours for reply in failed):
                    return
                raise self._death()  # what the others say of it is not the reason
            if failed and deadline is None:
                deadline = time.monotonic() + PATIENCE
            if not ready:
                return

    def _error(self, rank: int, reply: Reply, *, alone: bool) -> MsprofError:
        """Return the error that process *rank* reported, as one of ours."""
        message = f"rank {rank}: {reply.message}" if alone else reply.message
        if not reply.is_ours:
            log = self._process.log_tail()
            return ServiceError(f"{reply.error} in the runner: {message}", log_tail=log)
        kind = getattr(errors, reply.error, MsprofError)
        error: MsprofError = kind.__new__(kind, message)
        Exception.__init__(error, message)
        return error

    def _death(self) -> ServiceExited:
        """End what is left, and say which process died and how."""
        self._process.wait(LAST_WORDS)
        self.stop()
        log = self._process.log_tail(LOG_LINES)
        last = log.strip().rpartition("\n")[2]
        failure = classify(log, self._process.returncode)
        message = f"{self._process.name} lost one of them ({failure}): {last}; log: {self._process.log_path}"
        return ServiceExited(message, failure=failure, log_tail=self._process.log_tail())


def _environment(count: int, scratch: Path) -> dict[str, str]:
    """Return what the processes inherit; those of one machine meet in a file, for which no port must be free."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    return {
        "OMP_NUM_THREADS": threads,
        "GLOO_SOCKET_IFNAME": "lo",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
        RENDEZVOUS: f"file://{scratch / 'meeting'}",
    }
