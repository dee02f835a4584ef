"""SQLite files of others, opened without ever changing them or their folder."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import store_errors

__all__ = ["columns", "opened"]

MAGIC = b"SQLite format 3\x00"
WRITE_VERSION = 18
"""Byte of the header that says by its value 2 that a write-ahead log belongs to the file."""
PATIENCE = 1.0
"""Seconds to wait for a writer."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that only reads; raises `StoreError` for a file that is locked, damaged or no database."""
    with store_errors(path), path.open("rb") as file:
        header = file.read(WRITE_VERSION + 1)
    if not header.startswith(MAGIC):
        raise StoreError(f"{path} is no SQLite database" if header else f"{path} is empty: a database was wanted")
    try:
        with (
            _readable(path, logged=header[WRITE_VERSION:] == b"\x02") as uri,
            closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection,
        ):
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from None


def columns(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """Return the columns of *table*, none where there is no such table."""
    return tuple(row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)))


@contextmanager
def _readable(path: Path, *, logged: bool) -> Iterator[str]:
    """Give the URI of *path*, or of a copy where reading it in place would write beside it."""
    log = path.with_name(f"{path.name}-wal")
    if not logged:
        yield f"file:{quote(str(path.resolve()))}?mode=ro"
    elif not (log.exists() and log.stat().st_size):
        yield f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    else:
        with tempfile.TemporaryDirectory(prefix="msprof-compare-") as folder:
            copy = Path(folder) / "copy.db"
            with store_errors(path):
                shutil.copyfile(path, copy)
                shutil.copyfile(log, f"{copy}-wal")
            yield f"file:{quote(str(copy))}"
