"""Starts the processes of one runner, says of each line which of them wrote it, and ends as soon as one of them does.

Run as `python -m msprof_runners.rank_leader COUNT COMMAND…`, under a supervisor that ends the others then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

__all__ = ["main"]

LAST_WORDS = 5.0
"""Seconds that what an ended process wrote may take to arrive; children of its own may hold the pipe."""


def main() -> None:
    """Start the command COUNT times, and exit as the first of them that ends."""
    count, command = int(sys.argv[1]), sys.argv[2:]
    started = [_start(command, rank, count) for rank in range(count)]
    readers = [threading.Thread(target=_repeat, args=entry, daemon=True) for entry in enumerate(started)]
    for reader in readers:
        reader.start()
    pid, status = os.wait()
    rank = next(rank for rank, process in enumerate(started) if process.pid == pid)
    readers[rank].join(LAST_WORDS)
    code = os.waitstatus_to_exitcode(status)
    _say(rank, f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}")
    os._exit(128 - code if code < 0 else code or 1)


def _start(command: list[str], rank: int, count: int) -> subprocess.Popen[str]:
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        env={**os.environ, **place},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _repeat(rank: int, process: subprocess.Popen[str]) -> None:
    for line in process.stdout or ():
        _say(rank, line.rstrip("\n"))


def _say(rank: int, text: str) -> None:
    """Write a line in one piece: several threads do."""
    os.write(1, f"[rank {rank}] {text}\n".encode(errors="replace"))


if __name__ == "__main__":
    main()
