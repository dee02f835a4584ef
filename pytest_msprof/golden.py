"""The runs that others are compared with: one directory a case, made to be committed or cached.

`golden.json` names the runs that count and is replaced last, so that a reader sees the old golden
or the new one. Requests are not kept: a verdict needs launches, not requests.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_msprof.errors import StoreError
from pytest_msprof.ids import digest
from pytest_msprof.json_files import check_schema, read_json, store_errors, write_json
from pytest_msprof.results import Run, Value
from pytest_msprof.store import read_run, write_run

__all__ = ["Golden", "GoldenStore"]

SCHEMA_VERSION = 1
"""Version of `golden.json`. 1: first release."""
INDEX = "golden.json"
SLUG_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden runs of one case; none where none were accepted."""

    runs: tuple[Run, ...] = ()
    accepted_at: datetime | None = None


class GoldenStore:
    """The golden runs below one folder, moved by `accept` and by nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def key(
        *, case: str, engine: str, model_digest: str, workload_hash: str, device: str, fields: Mapping[str, Value]
    ) -> str:
        """Return the identity of a golden; the engine's version is not part of it, since it is what people compare."""
        return digest([case, engine, model_digest, workload_hash, device, dict(fields)])

    def exists(self, key: str) -> bool:
        """Say whether runs were accepted under *key*."""
        return self._find(key) is not None

    def load(self, key: str) -> Golden:
        """Return the golden runs under *key*, none where none were accepted.

        Raises `StoreError` where a file is damaged or missing, and names it.
        """
        folder = self._find(key)
        if folder is None:
            return Golden()
        with _locked(folder, fcntl.LOCK_SH):
            index = _index(folder)
            try:
                names, accepted_at = [str(name) for name in index["runs"]], datetime.fromisoformat(index["accepted_at"])
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(f"{folder / INDEX} is no golden: {error!r}") from None
            return Golden(tuple(read_run(folder / f"{Path(name).name}.json") for name in names), accepted_at)

    def accept(self, key: str, runs: Sequence[Run]) -> Path:
        """Make *runs* golden under *key*, in place of those before; return the directory.

        Raises `StoreError` when there are none, or the folder cannot be written.
        """
        if not runs:
            raise StoreError(f"no runs to accept as golden {key}")
        folder = self._find(key) or self.folder / f"{_slug(runs[0].case)}-{key}"
        with store_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, fcntl.LOCK_EX):
            for run in runs:
                write_run(folder / f"{run.id}.json", run)
            write_json(folder / INDEX, _entry(key, runs))
            _remove_others(folder, {INDEX, *(f"{run.id}.json" for run in runs)})
        return folder

    def _find(self, key: str) -> Path | None:
        return next((path.parent for path in sorted(self.folder.glob(f"*-{key}/{INDEX}"))), None)


def _entry(key: str, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "case": runs[0].case,
        "engine": runs[0].engine,
        "accepted_at": datetime.now(UTC).isoformat(),
        "runs": [run.id for run in runs],
    }


def _index(folder: Path) -> dict[str, Any]:
    index = read_json(folder / INDEX)
    check_schema(folder / INDEX, index, SCHEMA_VERSION)
    return index


def _slug(case: str) -> str:
    """Return what a person recognises a case by, safe as the name of a directory."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", case).strip("-.")[-SLUG_LENGTH:].lstrip("-.") or "case"


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Remove runs that no longer count; they would be committed for nothing."""
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, mode: int) -> Iterator[None]:
    """Hold the directory itself, so that no lock file is committed."""
    with store_errors(folder):
        file = os.open(folder, os.O_RDONLY)
    try:
        with store_errors(folder):
            fcntl.flock(file, mode)
        yield
    finally:
        os.close(file)
