"""Finding out what a path holds, and reading it: one launch or many, whoever measured them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

from pytest_msprof.errors import ConfigurationError, MsprofError, StoreError
from pytest_msprof.json_files import read_json, store_errors
from pytest_msprof.sources.analysed import is_analysed, read_analysed
from pytest_msprof.sources.benchmark_json import is_benchmark_json, read_benchmark_json
from pytest_msprof.sources.raw import is_raw, read_raw
from pytest_msprof.sources.runs import is_ours, read_ours
from pytest_msprof.sources.source import Source

__all__ = ["Foreign", "read_side"]

Foreign = Callable[[Path], Source | None]
"""Reads what a plugin knows, None for what it does not."""
GIGABYTE = 1e9
POSSIBLE = (
    "a run, a golden, a folder of runs, a JSON file of pytest-benchmark, an analysed or a raw folder of the "
    "profiler, or a result of another load generator"
)


def read_side(path: Path, foreign: Foreign) -> list[Source]:
    """Read every launch at *path*, or one level below it.

    Raises `ConfigurationError` where nothing can be read, and `StoreError` that names a damaged file.
    """
    with store_errors(path):
        path.stat()
        below = sorted(path.iterdir()) if path.is_dir() else []
    found = _attempt(path, foreign)
    for entry in below if not found else ():
        found += _attempt(entry, foreign) if _is_promising(entry) else []
    if not found:
        raise ConfigurationError(f"nothing to compare in {str(path)!r}: give {POSSIBLE}")
    return found


def _is_promising(entry: Path) -> bool:
    return not entry.name.startswith(".") and (entry.is_dir() or entry.suffix in {".json", ".jsonl"})


def _read(path: Path, foreign: Foreign) -> list[Source]:
    """Read what *path* itself is, nothing where nobody knows it."""
    if is_ours(path):
        return read_ours(path)
    if is_analysed(path):
        return [read_analysed(path)]
    if is_raw(path):
        return [read_raw(path)]
    if path.suffix == ".json" and path.is_file() and is_benchmark_json(data := read_json(path)):
        return read_benchmark_json(path, data)
    known = foreign(path)
    return [known] if known else []


def _check_size(path: Path) -> None:
    """Refuse JSON that cannot be held in memory; what is read row by row may have any size."""
    with store_errors(path):
        size = path.stat().st_size if path.is_file() else 0
    free = psutil.virtual_memory().available
    if size > free:
        raise StoreError(f"{path} has {size / GIGABYTE:.1f} GB, but {free / GIGABYTE:.1f} GB of memory are free")


def _attempt(path: Path, foreign: Foreign) -> list[Source]:
    """Read a stranger's file: whatever it does to a reader, one line names the file."""
    _check_size(path)
    try:
        return _read(path, foreign)
    except MsprofError as error:
        if str(path) in str(error):
            raise
        raise StoreError(f"{path}: {error}") from None
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror or error}") from None
    except MemoryError:
        raise StoreError(f"{path} does not fit into the memory of this machine") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read: {type(error).__name__}: {reason}") from None
