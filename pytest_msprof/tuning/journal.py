"""The journal of a study: one line a change, whole or not at all, and one sentence where that cannot be."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

from optuna.storages.journal import JournalFileBackend

from pytest_msprof.errors import StoreError

__all__ = ["JournalFile"]


class _Lock(Protocol):
    def acquire(self) -> bool: ...
    def release(self) -> None: ...


class JournalFile(JournalFileBackend):
    """Optuna's journal in the file at *path*, which is written under *lock*.

    A full disk leaves no torn line behind, to which the next record would be glued and lost with it.
    """

    def __init__(self, path: Path, lock: _Lock) -> None:
        super().__init__(str(path), lock_obj=lock)  # type: ignore[arg-type]  # what Optuna calls of a lock
        self._path, self._own_lock = path, lock

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Return the records from this number on; raises `StoreError` at one that is damaged."""
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise StoreError(
                f"the study's journal {self._path} is damaged in line {self._damaged_line()}: {error}; put back a copy "
                "of it, or move it away: the study begins anew, and recorded runs answer what they can"
            ) from None

    def _damaged_line(self) -> int:
        with self._path.open("rb") as file:
            return next((number for number, line in enumerate(file, 1) if not _is_record(line)), 0)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write the records and force them to disk; raises `StoreError` where that cannot be."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._own_lock.acquire()
        try:
            self._append(text.encode("utf-8"))
        except OSError as error:
            raise StoreError(
                f"the study's journal {self._path} cannot be written: {error.strerror}; "
                "what was measured so far is kept, make room and run again"
            ) from None
        finally:
            self._own_lock.release()

    def _append(self, record: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(file).st_size
            try:
                _write(file, record)
                os.fsync(file)
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)


def _is_record(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return line.endswith(b"\n")


def _write(file: int, record: bytes) -> None:
    """Write all of *record*: a full disk takes a part of it first, and the rest fails."""
    while record:
        record = record[os.write(file, record) :]
