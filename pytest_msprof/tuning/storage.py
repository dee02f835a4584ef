"""Where a study lives: a journal file that survives any kill, or a database by URL."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from pytest_msprof.json_files import check_schema, read_json, write_json
from pytest_msprof.results import Value
from pytest_msprof.tuning import leases

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["SCHEMA_VERSION", "Journals", "Shelf", "open_journal", "turn"]

SCHEMA_VERSION = 1
"""Version of a study's identity file. 1: first release."""


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
    with turn(path.with_suffix(".lock")):
        _truncate_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold the lock at *path*: one process at a time chooses what to measure next."""
    lock = _FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Shelf(Protocol):
    """Where studies lie, by name, each with the facts that make its identity."""

    def names(self) -> list[str]:
        """Return the names of all studies, sorted."""

    def facts(self, name: str) -> dict[str, Value]:
        """Return what the study's key depends on."""

    def add(self, name: str, identity: Mapping[str, Value]) -> None:
        """Make room for a study."""

    def storage(self, name: str) -> BaseStorage:
        """Open the study."""

    def turn(self, name: str) -> Callable[[], AbstractContextManager[None]]:
        """Return how to exclude other processes while one chooses what to measure next."""

    @property
    def sees_others(self) -> bool:
        """Whether it knows which processes of other machines live."""

    def is_alive(self, lease: Mapping[str, Any] | None) -> bool:
        """Say whether the holder of *lease* still runs."""


class Journals:
    """Studies in one folder: a journal each, and its identity beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of all studies, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def facts(self, name: str) -> dict[str, Value]:
        """Return what the study's key depends on.

        Raises `StoreError` for a damaged file, and `SchemaTooNew` for one of a newer version.
        """
        path = self._path(name, ".json")
        stored = read_json(path)
        check_schema(path, stored, SCHEMA_VERSION)
        return dict(stored.get("facts", {}))

    def add(self, name: str, identity: Mapping[str, Value]) -> None:
        """Write down a study's identity."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(name, ".json"), dict(identity))

    def storage(self, name: str) -> BaseStorage:
        """Open the study's journal."""
        return open_journal(self._path(name, ".journal"))

    def turn(self, name: str) -> Callable[[], AbstractContextManager[None]]:
        """Return a lock on a file that all processes share."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return partial(turn, self._path(name, ".turn"))

    @property
    def sees_others(self) -> bool:
        """A file is shared by the processes of one machine."""
        return False

    def is_alive(self, lease: Mapping[str, Any] | None) -> bool:
        """Say whether the holder of *lease* still runs."""
        return leases.is_alive(lease)

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}{suffix}"


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
