"""A folder for the life of a process; what a killed one left behind goes when the next one is made."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_msprof.slots import take_lock

__all__ = ["scratch_folder"]

PREFIX = "msprof-ranks-"
LOCK = "lock"
"""A file that its maker holds locked: the kernel lets go of it however that process ends."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder among the temporary files, and remove it at the end of the `with`."""
    _remove_left_behind(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "new").rename(folder / LOCK)  # nobody ever sees it unlocked
            yield folder


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or somebody else just removed it
            if folder.stat().st_uid == os.getuid() and _is_unlocked(folder / LOCK):
                shutil.rmtree(folder)


def _is_unlocked(lock: Path) -> bool:
    with lock.open() as file:
        return take_lock(file)
