"""Small facts that take long to find, kept in the user's cache folder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_msprof.ids import new_id

__all__ = ["read_cached", "write_cached"]

VERSION = 1


def read_cached(name: str) -> dict[str, Any] | None:
    """Return what was kept under *name*, None where nothing readable is."""
    try:
        kept = json.loads(_path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


def write_cached(name: str, value: dict[str, Any]) -> None:
    """Keep *value* under *name*; a folder that cannot be written to costs time, not the load."""
    path = _path(name)
    written = path.with_name(f"{path.name}.{new_id()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps(value), encoding="utf-8")
        written.replace(path)


def _path(name: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pytest-msprof" / f"{name}-v{VERSION}.json"
