"""An engine as a process that cannot outlive us, with a log that is kept and an end that is noticed."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from pytest_msprof.engine_log import EngineLog
from pytest_msprof.errors import ServiceError, ServiceExited
from pytest_msprof.failures import DOES_NOT_START
from pytest_msprof.ids import new_id
from pytest_msprof.redaction import secrets_in

__all__ = ["EngineProcess"]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
MARKER = "MSPROF_PROCESS_ID"
"""Environment variable that every descendant of one engine carries."""
KILL_PATIENCE = 10.0
"""Seconds a process may take to end after SIGKILL, while the kernel frees its memory."""
STATE, SESSION, STARTED = 0, 3, 19
"""Places in /proc/PID/stat, counted from the state (proc_pid_stat(5))."""


class EngineProcess:
    """A running command with everything it starts, down to children in sessions of their own.

    A supervisor of its own, a process outside our group, holds the other end of a pipe to us and
    ends the whole family when `stop` asks for it, when the leader ends, and when we are gone,
    SIGKILL included. Use it as a context manager, or call `stop`.
    """

    def __init__(self, guard: _Guard, *, pid: int, name: str, command: tuple[str, ...], log: EngineLog) -> None:
        self.name, self.command, self.log_path = name, command, log.path
        self._guard, self._pid, self._log = guard, pid, log
        self._returncode: int | None = None
        self._lock = threading.Lock()

    @classmethod
    def start(
        cls, command: Sequence[str], *, name: str, env: Mapping[str, str], cwd: Path, log_path: Path
    ) -> EngineProcess:
        """Start *command* with exactly *env*; its output is appended to *log_path*.

        Raises `ServiceExited` with the words of the system when it cannot be executed.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log = EngineLog.starting_now(log_path, secrets_in(env, command))
        marked = {**env, MARKER: new_id()}
        try:
            guard = _Guard.start(cwd=cwd, log_path=log_path, marker=marked[MARKER])
            pid = guard.launch(command, marked)
        except OSError as error:
            message = f"{name} could not be started: {error.filename}: {error.strerror}"
            raise ServiceExited(message, failure=DOES_NOT_START, log_tail=log.tail(40)) from error
        return cls(guard, pid=pid, name=name, command=tuple(command), log=log)

    @property
    def pid(self) -> int:
        """Process id of the leader, which is its group and its session too."""
        return self._pid

    @property
    def returncode(self) -> int | None:
        """Exit code as of the last look, negative for a signal, None while it runs."""
        return self._returncode

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the leader ends, for event loops."""
        return self._guard.ending

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        self.wait(0)
        return self._returncode

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the leader, at most *timeout* seconds; True when it ended."""
        if self._returncode is None and _readable(self._guard.ending, timeout):
            with self._lock:
                if self._returncode is None:
                    self._returncode = self._guard.exit_code()
        return self._returncode is not None

    def stop(self, *, grace: float = 10.0) -> None:
        """End the whole family and return when it is gone: SIGTERM, SIGKILL after *grace* seconds.

        Raises `ServiceError` when even SIGKILL does not end it, as in a hanging device driver.
        """
        if self._guard.closed:
            return
        self._guard.order_end(grace)
        if not self._guard.wait_gone(grace + KILL_PATIENCE):
            raise ServiceError(f"{self.name} (pid {self._pid}) still runs {KILL_PATIENCE:g} s after SIGKILL")
        self.wait()
        self._guard.close()
        self._log.scrub()

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines that this process wrote, without control characters and secrets."""
        return self._log.tail(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self._returncode is None else f"exit code {self._returncode}"
        return f"<EngineProcess {self.name} pid={self._pid} {state}>"


class _Guard:
    """Our end of the pipes to one supervisor; closing the lifeline makes it end the engine."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int, news: int, ending: int, marker: str) -> None:
        self.process, self.lifeline, self.news, self.ending = process, lifeline, news, ending
        self.marker = marker
        self.leader = _Leader(0, "")
        self.closed = False

    @classmethod
    def start(cls, *, cwd: Path, log_path: Path, marker: str) -> _Guard:
        """Start a supervisor; raises OSError where *cwd* or the log cannot be used."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            pipes = [os.pipe() for _ in range(3)]
            lifeline, news, ending = pipes[0][1], pipes[1][0], pipes[2][0]
            for descriptor in (lifeline, news, ending):
                ours.callback(os.close, descriptor)
            shared = [pipes[0][0], pipes[1][1], pipes[2][1], *_pidfd_of_ourselves()]
            for descriptor in shared:
                theirs.callback(os.close, descriptor)
            log = theirs.enter_context(log_path.open("ab"))
            arguments = [*map(str, shared), "-1"][:4]
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), *arguments],
                pass_fds=shared,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                start_new_session=True,
            )
            ours.pop_all()
        return cls(process, lifeline, news, ending, marker)

    def launch(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Hand over the command and return the leader's pid; raises OSError when it cannot be executed."""
        if not command or any("\0" in text for text in command):
            raise OSError(errno.EINVAL, "a command needs a program, and no NUL character", " ".join(command))
        texts = [str(len(command)), *command, *(f"{key}={value}" for key, value in env.items())]
        message = b"\0".join(map(os.fsencode, texts))
        with contextlib.suppress(BrokenPipeError):
            _write(self.lifeline, len(message).to_bytes(4, "big") + message)
        word, _, number = os.read(self.news, 64).partition(b" ")
        if word == b"started":
            self.leader = _Leader.of(int(number))
            return self.leader.pid
        self.process.wait()
        self.close()
        if word == b"failed":
            raise OSError(int(number), os.strerror(int(number)), command[0])
        raise OSError(0, f"its supervisor ended with exit code {self.process.returncode}", str(SUPERVISOR))

    def exit_code(self) -> int:
        """Read the exit code of the ended leader.

        A supervisor that was killed says nothing, but the kernel killed its leader with it.
        """
        if text := os.read(self.ending, 16):
            return int(text)
        _kill_remains(self.marker, self.leader)
        return -signal.SIGKILL

    def order_end(self, grace: float) -> None:
        """Ask for the end of the family."""
        with contextlib.suppress(BrokenPipeError):
            _write(self.lifeline, b"end %f\n" % grace)

    def wait_gone(self, timeout: float) -> bool:
        """Wait until nothing of the family is left."""
        if not _readable(self.news, timeout):
            return False
        if self.process.wait() != 0:
            _kill_remains(self.marker, self.leader)
        return True

    def close(self) -> None:
        """Give up the pipes."""
        if not self.closed:
            self.closed = True
            for descriptor in (self.lifeline, self.news, self.ending):
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _pidfd_of_ourselves() -> list[int]:
    """Return a descriptor that becomes readable when this process ends, where the kernel has it."""
    try:
        return [os.pidfd_open(os.getpid())]
    except (AttributeError, OSError):
        return []


def _readable(descriptor: int, timeout: float | None) -> bool:
    """Wait until *descriptor* has something to read or was closed at its other end."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout is None else math.ceil(timeout * 1000)))


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


class _Leader(NamedTuple):
    """A process that a later one of the same number is not taken for."""

    pid: int
    started: str
    """In clock ticks since boot; empty when it was gone before anybody looked."""

    @classmethod
    def of(cls, pid: int) -> _Leader:
        try:
            return cls(pid, _stat(pid)[STARTED])
        except OSError:
            return cls(pid, "")

    def keeps_session(self) -> bool:
        """Say whether its session is still its own: the number is given again when the last member is gone."""
        return _Leader.of(self.pid).started in (self.started, "")


def _kill_remains(marker: str, leader: _Leader) -> None:
    """Kill what a killed supervisor left: the session of the leader, and who carries *marker*.

    One sign is not enough: a child may have a session of its own, and setproctitle, as in vLLM's
    workers, overwrites the environment that others can read.
    """
    entry = f"{MARKER}={marker}".encode()
    deadline = time.monotonic() + KILL_PATIENCE
    while (found := _remains(entry, leader)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _remains(entry: bytes, leader: _Leader) -> list[int]:
    found = []
    session = str(leader.pid) if leader.keeps_session() else None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = _stat(folder.name)
            is_member = stat[SESSION] == session or entry in (folder / "environ").read_bytes()
            if is_member and stat[STATE] not in "ZX":
                found.append(int(folder.name))
    return found


def _stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; the name before it may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
