"""JSON files that are written whole or not at all, and errors that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_msprof.errors import SchemaTooNew, StoreError

__all__ = ["check_schema", "read_json", "store_errors", "write_json"]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `StoreError` that names the file where there is none."""
    with store_errors(path):
        text = path.read_bytes()
    try:
        data = json.loads(text)
    except ValueError as error:
        raise StoreError(f"{path} is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path} holds a {type(data).__name__}, but a JSON object was wanted")
    return data


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write *data* beside *path* and rename it, so that a reader sees the old file or the new one."""
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with store_errors(path):
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def check_schema(path: Path | str, data: dict[str, Any], supported: int) -> None:
    """Refuse a file, or what else holds *data*, that a newer version wrote, by name."""
    found = data.get("schema_version")
    if not isinstance(found, int):
        raise StoreError(f"{path} has no schema version (this version reads up to {supported})")
    if found > supported:
        raise SchemaTooNew(
            f"{path} has schema version {found}, but this version reads up to {supported}: upgrade pytest-msprof"
        )


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what the system said about a file into a `StoreError` that names it."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror or error}") from error
