"""Runs on disk: one directory each, written once and never changed.

While it is measured a run is `<id>.partial`, whose requests stay readable however the writer ends;
`seal` makes it `<id>`. Two processes never touch the same directory, so no lock is waited for.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from pydantic import ValidationError

from pytest_msprof import blocks
from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import check_schema, read_json, store_errors, write_json
from pytest_msprof.results import SCHEMA_VERSION, Run
from pytest_msprof.samples import Samples
from pytest_msprof.series_file import read_series
from pytest_msprof.slots import take_lock

__all__ = ["Leftover", "PartialRun", "RunStore", "hide_from_git", "read_run", "write_run"]

PARTIAL = ".partial"
RUN_FILE = "run.json"
SAMPLES_FILE = "samples.msb"


GIT_IGNORE = "*\n!.gitignore\n!golden/\n!golden/**\n"


def hide_from_git(folder: Path) -> None:
    """Make *folder*, and keep git from offering anything in it but the golden runs, unless the user decided."""
    path = folder / ".gitignore"
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(GIT_IGNORE, encoding="utf-8")


class PartialRun:
    """A run that is being measured; keep the object alive, since its lock tells others so."""

    def __init__(self, run_id: str, folder: Path) -> None:
        self.run_id, self.folder = run_id, folder
        self.written = 0
        """Requests written so far."""
        with store_errors(folder):
            folder.mkdir(parents=True)
            self._file = os.open(folder / SAMPLES_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def write(self, samples: Samples) -> None:
        """Append finished requests; from then on they survive the end of this process."""
        if not len(samples):
            return
        with store_errors(self.folder / SAMPLES_FILE):
            blocks.append(self._file, samples)
        self.written += len(samples)

    def complete(self, samples: Samples | None) -> None:
        """Make the file hold exactly *samples*, whatever was streamed; None leaves it as it is."""
        if samples is None or len(samples) == self.written:
            return
        with store_errors(self.folder / SAMPLES_FILE):
            os.ftruncate(self._file, 0)
        self.written = 0
        self.write(samples)

    def seal(self, run: Run, target: Path) -> None:
        """Write down *run* and make this directory permanent as *target*.

        Raises `StoreError` when *run* is another one, or holds what JSON cannot.
        """
        if run.id != self.run_id:
            raise StoreError(f"run {run.id} cannot be sealed in the folder of run {self.run_id}")
        with store_errors(target):
            write_run(self.folder / RUN_FILE, run)
            if self.written:
                self.sync()
            else:
                (self.folder / SAMPLES_FILE).unlink()
            self.folder.rename(target)
            self.close()
            _sync(target.parent)

    def discard(self) -> None:
        """Remove what was measured."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sync(self) -> None:
        """Wait until the requests reached the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file and its lock, once."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a writer left that ended before it sealed its run."""

    run_id: str
    folder: Path

    @property
    def samples(self) -> Samples:
        """Every request that was written whole."""
        path = self.folder / SAMPLES_FILE
        with store_errors(path):
            return blocks.read(path, torn=True) if path.exists() else Samples.of([])


class RunStore:
    """The runs below one folder, oldest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, run_id: str) -> PartialRun:
        """Begin a run.

        Raises `StoreError` when the folder cannot be written, or has a run of that id.
        """
        if self._path(run_id).exists():
            raise StoreError(f"{self._path(run_id)} exists: a run is written once")
        return PartialRun(run_id, self._path(run_id + PARTIAL))

    def seal(self, partial: PartialRun, run: Run) -> Path:
        """Write down *run* and make the partial one permanent; return its folder.

        Raises `StoreError` when *run* is another one, or holds what JSON cannot.
        """
        target = self._path(run.id)
        partial.seal(run, target)
        return target

    def load(self, run: str | Path) -> Run:
        """Read a run by its id, or the path of its directory; its requests and its course when asked for.

        Raises `StoreError` where it is missing or damaged, and `SchemaTooNew` where a newer
        version wrote it.
        """
        path = run if isinstance(run, Path) else self._path(run)
        return read_run(path / RUN_FILE).with_samples(bind(self.samples, path)).with_series(bind(read_series, path))

    def exists(self, run_id: str) -> bool:
        """Say whether a run of that id was recorded here, and kept."""
        return bool(run_id) and (self._path(run_id) / RUN_FILE).is_file()

    def samples(self, path: Path) -> Samples | None:
        """Read the requests of the run in directory *path*, None where it has none."""
        with store_errors(path):
            return blocks.read(path / SAMPLES_FILE) if (path / SAMPLES_FILE).exists() else None

    def requests(self, path: Path) -> Iterator[Samples]:
        """Yield the requests of the run in directory *path* a block at a time, nothing where it has none."""
        with store_errors(path):
            if (path / SAMPLES_FILE).exists():
                yield from blocks.parts(path / SAMPLES_FILE)

    def runs(self, session_id: str | None = None, *, skip_damaged: bool = False) -> Iterator[Run]:
        """Yield the runs of one session, or all; one that another process removes meanwhile is left out."""
        for run_id in self._ids():
            try:
                run = self.load(run_id)
            except StoreError:
                if self._path(run_id).exists() and not skip_damaged:
                    raise
                continue
            if session_id in (None, run.session_id):
                yield run

    def partials(self) -> list[Leftover]:
        """Return what ended writers left; runs that are being measured are not among it."""
        found = (Leftover(path.name.removesuffix(PARTIAL), path) for path in sorted(self.folder.glob(f"*{PARTIAL}")))
        return [leftover for leftover in found if _is_abandoned(leftover.folder / SAMPLES_FILE)]

    def delete(self, run_id: str) -> None:
        """Remove a run; nobody ever sees half of one."""
        path = self._path(run_id)
        doomed = path.with_name(f".{path.name}.deleted")
        with store_errors(path):
            path.rename(doomed)
            shutil.rmtree(doomed)

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest *keep* runs, and leftovers older than those; return their ids."""
        ids = self._ids()
        old = ids[: max(0, len(ids) - keep)]
        for run_id in old:
            self.delete(run_id)
        bound = old[-1] if old else ""
        stale = [leftover for leftover in self.partials() if leftover.run_id < bound]
        for leftover in stale:
            self.delete(leftover.folder.name)
        return [*old, *(leftover.run_id for leftover in stale)]

    def _ids(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        return sorted(name for name in names if not name.startswith(".") and not name.endswith(PARTIAL))

    def _path(self, name: str) -> Path:
        if not name or name != Path(name).name or name.startswith("."):
            raise StoreError(f"{name!r} is no id of a run")
        return self.folder / name


def read_run(path: Path) -> Run:
    """Read one `run.json`.

    Raises `StoreError` where it is missing or damaged, and `SchemaTooNew` where a newer version
    wrote it; both name the file.
    """
    data = read_json(path)
    check_schema(path, data, SCHEMA_VERSION)
    try:
        return Run.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise StoreError(f"{path} is no run: {place}: {problem['msg'].lower()}") from None


def write_run(path: Path, run: Run) -> None:
    """Write one `run.json`, whole or not at all.

    Raises `StoreError` when the run holds what JSON cannot, such as an infinite metric.
    """
    try:
        write_json(path, run.model_dump(mode="json"))
    except ValueError as error:
        raise StoreError(f"run {run.id} cannot be written to {path}: {error}") from None


def _is_abandoned(path: Path) -> bool:
    """Say whether nobody holds the lock of a partial run's file."""
    try:
        with path.open("rb") as file:
            return take_lock(file)
    except OSError:
        return path.parent.is_dir()


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
