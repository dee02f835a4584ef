"""Where a study lives: a journal file that survives any kill, or a database by URL."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["open_journal", "open_url"]


class _FileLock:
    """A lock that the kernel frees when its holder dies, so no grace period is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        file = self._path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def open_journal(path: Path) -> BaseStorage:
    """Open the journal at *path*, after taking off a last line that a killed writer left torn.

    Optuna reads past such a line, but the next record would be glued to it and lost.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    lock: Any = _FileLock(path.with_suffix(".lock"))
    lock.acquire()
    try:
        _truncate_torn_line(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def open_url(url: str) -> BaseStorage:
    """Open the Optuna storage at *url*, such as `postgresql://host/studies`."""
    from optuna.storages import RDBStorage

    return RDBStorage(url)


def _truncate_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
