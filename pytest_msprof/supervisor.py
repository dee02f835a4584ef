"""The watch over one engine: a small program that ends the engine and all its children when we are gone.

`pytest_msprof.process` runs it as a script and shares four descriptors with it. *lifeline* brings
the command, then orders to stop; its end of file means that nobody is left to give any. *news* says
whether the engine started; its end of file means that nothing of the engine is left. *ending*
carries the exit code at the moment the engine ends. *owner* is a pidfd of the harness: a forked
child of the harness may hold the lifeline open, but cannot keep the harness alive. It is -1 where
the kernel has no pidfd.

As a child subreaper this program inherits every descendant whose parent ends, whatever session the
descendant made for itself, so that "no children left" means that nothing is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

__all__ = ["Supervisor"]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NOT_EXECUTED = 127

ABANDONED_GRACE = 3.0
"""Seconds that an engine has to end when the harness is gone."""
TIDY_GRACE = 1.0
"""Seconds that children have after their engine: multiprocessing removes shared memory in them."""
KILL_AGAIN = 0.05
"""Seconds between two sweeps: a process may fork while its siblings are being killed."""

TITLE = b"msprof-supervisor"
REQUESTS_TO_END = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
ARGUMENTS_START, ARGUMENTS_END = 48 - 3, 49 - 3
"""Places in /proc/self/stat, counted from the state, which is the third (proc_pid_stat(5))."""


class Supervisor:
    """Starts one engine, tells how it ends, and leaves nothing of it behind."""

    def __init__(self, *, lifeline: int, news: int, ending: int, owner: int) -> None:
        self.lifeline, self.news, self.ending, self.owner = lifeline, news, ending, owner
        self.leader = 0
        self.leader_runs = False
        self.deadline: float | None = None
        """When patience ends, in monotonic seconds; None while the engine is wanted."""
        self.signals = self._listen_to_signals()
        self.events = select.poll()
        for source in (self.signals, lifeline, owner):
            if source >= 0:
                self.events.register(source, select.POLLIN)

    @staticmethod
    def _listen_to_signals() -> int:
        """Turn signals into bytes on a pipe, so that one wait covers them and everything else."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        for number in (signal.SIGCHLD, *REQUESTS_TO_END):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        return reading

    def start(self, command: list[bytes], env: dict[bytes, bytes]) -> bool:
        """Start the engine in a session of its own; False when its program cannot be executed."""
        failed, failing = os.pipe()
        supervisor = os.getpid()
        self.leader = os.fork()
        if self.leader == 0:
            become(command, env, supervisor=supervisor, failing=failing)
        os.close(failing)
        problem = os.read(failed, 16)
        os.close(failed)
        self.leader_runs = not problem
        tell(self.news, b"failed %s" % problem if problem else b"started %d" % self.leader)
        return self.leader_runs

    def watch(self) -> None:
        """Return when the engine and all its descendants are gone, asked or not."""
        while self.reap():
            pause = None
            if self.deadline is not None:
                pause = self.deadline - time.monotonic()
                if pause <= 0:
                    send(signal.SIGKILL, *descendants())
                    pause = KILL_AGAIN
            for source, _ in self.events.poll(None if pause is None else pause * 1000 + 1):
                self.heed(source)

    def reap(self) -> bool:
        """Collect ended children; False when there are none left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.leader and self.leader_runs:
                    self.leader_ended(os.waitstatus_to_exitcode(status))
        return False

    def leader_ended(self, code: int) -> None:
        """Tell the exit code at once, then let the rest of the family go."""
        self.leader_runs = False
        tell(self.ending, b"%d" % code)
        os.close(self.ending)
        send(signal.SIGTERM, *descendants())
        self.end_within(TIDY_GRACE)

    def heed(self, source: int) -> None:
        """Act on what one source says."""
        if source == self.signals:
            if REQUESTS_TO_END & set(os.read(self.signals, 256)):
                self.end(ABANDONED_GRACE)
        elif source == self.lifeline and (order := os.read(self.lifeline, 64)):
            self.end(float(order.split()[-1]))
        else:
            self.events.unregister(source)
            self.end(ABANDONED_GRACE)

    def end(self, grace: float) -> None:
        """Ask the leader to end, once, and begin to lose patience: a second SIGTERM means haste to some."""
        if self.leader_runs and self.deadline is None:
            send(signal.SIGTERM, self.leader)
            send(signal.SIGCONT, self.leader)
        self.end_within(grace)

    def end_within(self, grace: float) -> None:
        """Shorten the patience that is left to *grace* seconds."""
        deadline = time.monotonic() + grace
        self.deadline = deadline if self.deadline is None else min(self.deadline, deadline)


def become(command: list[bytes], env: dict[bytes, bytes], *, supervisor: int, failing: int) -> None:
    """Turn this forked process into the engine; on failure write the error number to *failing*."""
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(NOT_EXECUTED)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(command[0], command, env)  # noqa: S606 - a command is an argument list here
    except OSError as error:
        os.write(failing, b"%d" % (error.errno or 0))
    finally:
        os._exit(NOT_EXECUTED)


def descendants() -> list[int]:
    """Return the processes below this one, children first, from one look at /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes 10 ms to import
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                children.setdefault(parent_of(entry), []).append(int(entry))
    found = list(children.get(os.getpid(), ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def parent_of(pid: str) -> int:
    """Return the parent's process id; the name before it may hold spaces and parentheses."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
        return int(file.read().rpartition(b")")[2].split()[1])


def send(number: int, *pids: int) -> None:
    """Signal processes that may be gone already, or not be ours to signal any more."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def tell(pipe: int, text: bytes) -> None:
    """Write to the harness, if there is one."""
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, text)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process by the system call of that name; Python has no function for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def change_title() -> None:
    """Rename this process in `ps`: a `pkill -9 -f pytest` is not meant for the one that cleans up."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[ARGUMENTS_START]), int(fields[ARGUMENTS_END])
        if end - start > len(TITLE):
            ctypes.memset(start, 0, end - start)
            ctypes.memmove(start, TITLE, len(TITLE))


def receive(lifeline: int) -> list[bytes]:
    """Read the command and its environment, NUL-separated behind a length of four bytes."""
    length = int.from_bytes(read_exactly(lifeline, 4), "big")
    return read_exactly(lifeline, length).split(b"\0")


def read_exactly(descriptor: int, length: int) -> bytes:
    """Read *length* bytes; a harness that ends before it has sent them ends this program too."""
    text = b""
    while len(text) < length:
        piece = os.read(descriptor, length - len(text))
        if not piece:
            raise SystemExit(0)
        text += piece
    return text


def main() -> None:
    """Watch over one engine; the arguments are the descriptors, in the order of `Supervisor`."""
    lifeline, news, ending, owner = descriptors = [int(text) for text in sys.argv[1:5]]
    for descriptor in descriptors:
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    change_title()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    count, *texts = receive(lifeline)
    command, pairs = texts[: int(count)], texts[int(count) :]
    env = dict(pair.split(b"=", 1) for pair in pairs)
    supervisor = Supervisor(lifeline=lifeline, news=news, ending=ending, owner=owner)
    if supervisor.start(command, env):
        supervisor.watch()


if __name__ == "__main__":
    main()
