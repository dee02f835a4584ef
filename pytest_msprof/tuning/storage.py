"""Where a study lives: a journal file that survives any kill, or a database by URL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import check_schema, read_json, write_json
from pytest_msprof.results import Value
from pytest_msprof.slots import take_lock
from pytest_msprof.tuning import leases

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["ID_LENGTH", "SCHEMA_VERSION", "Journals", "Shelf", "begun", "open_journal", "turn"]

SCHEMA_VERSION = 1
"""Version of a study's identity: a file beside its journal, attributes in a database. 1: first release."""

ID_LENGTH = 36
"""Characters at the end of a study's name that are the id of the session that began it."""
PATIENCE = 60.0
"""Seconds that a lock is waited for: it is held for as long as a write or a suggestion takes."""
PAUSE = 0.005


class _FileLock:
    """A lock that the kernel frees when its holder dies, so no grace period is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock; raises `StoreError` where its holder hangs, or the file cannot be made."""
        deadline = time.monotonic() + PATIENCE
        try:
            file = self._path.open("ab")
        except OSError as error:
            raise StoreError(f"the lock {self._path} cannot be opened: {error.strerror}") from None
        while not take_lock(file):
            if time.monotonic() > deadline:
                file.close()
                raise StoreError(
                    f"the study is locked: {self._path} has been held by another process for {PATIENCE:g} s "
                    f"(fuser {self._path} names it)"
                )
            time.sleep(PAUSE)
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

    from pytest_msprof.tuning.journal import JournalFile

    path.parent.mkdir(parents=True, exist_ok=True)
    with turn(path.with_suffix(".lock")):
        _truncate_torn_line(path)
    return JournalStorage(JournalFile(path, _FileLock(path.with_suffix(".lock"))))


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
        """Return what the study's key depends on; raises `SchemaTooNew` where a newer version wrote it."""

    def order(self, name: str) -> int:
        """Return the place of the study among those of its name, 0 where an earlier version kept none."""

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


def begun(shelf: Shelf, name: str) -> tuple[int, str]:
    """Return what sorts studies by when they were begun, even where the clock was set back in between.

    Those without an order sort by the session in their name, whose id grows with time.
    """
    return shelf.order(name), name[-ID_LENGTH:]


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

    def order(self, name: str) -> int:
        """Return the place of the study among those of its name, 0 where an earlier version kept none."""
        return int(read_json(self._path(name, ".json")).get("order", 0))

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
