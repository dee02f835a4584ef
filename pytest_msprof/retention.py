"""Keeping `.msprof` small: the newest runs and reports stay, and the logs that a kept run came from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from pytest_msprof.store import RunStore

__all__ = ["Pruned", "prune"]


class Pruned(NamedTuple):
    """How much was deleted."""

    runs: int
    logs: int
    reports: int


def prune(folder: Path, keep: int) -> Pruned:
    """Keep the newest *keep* runs and reports below *folder*, and the logs of the kept runs' launches.

    Goldens and studies stay. A log of a launch that no kept run names stays while it is newer than
    the oldest kept one: it may belong to a session that still runs.
    """
    store = RunStore(folder / "runs")
    deleted = len(store.prune(keep))
    launches = {run.launch_id for run in store.runs()}
    oldest = min(launches, default="")
    logs = [path for path in _folders(folder / "logs") if path.name not in launches and path.name < oldest]
    if not launches and keep == 0:
        logs = _folders(folder / "logs")
    reports = _folders(folder / "reports")[: -keep or None]
    for path in (*logs, *reports):
        shutil.rmtree(path, ignore_errors=True)
    return Pruned(deleted, len(logs), len(reports))


def _folders(folder: Path) -> list[Path]:
    """Return the folders in *folder*, the oldest first: their names begin with a time."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
