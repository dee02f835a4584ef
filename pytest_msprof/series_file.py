"""The course of a run on disk: `series.json` beside its `run.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import check_schema, read_json, write_json
from pytest_msprof.series import Series

__all__ = ["SCHEMA_VERSION", "read_series", "write_series"]

SCHEMA_VERSION = 1
"""Version of `series.json`. 1: first release."""
FILE = "series.json"
DIGITS = 6


def write_series(folder: Path, series: Mapping[str, Series]) -> None:
    """Write the course of a run into its *folder*; nothing where nobody watched it."""
    if series:
        content = {
            name: {"times": _plain(found.times), "values": _plain(found.values)} for name, found in series.items()
        }
        write_json(folder / FILE, {"schema_version": SCHEMA_VERSION, "series": content})


def read_series(folder: Path) -> dict[str, Series]:
    """Read the course of the run in *folder*, empty where nobody kept it.

    Raises `StoreError` where the file is damaged, and `SchemaTooNew` where a newer version wrote it.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    data = read_json(path)
    check_schema(path, data, SCHEMA_VERSION)
    try:
        return {
            name: Series(np.array(found["times"], np.float64), np.array(found["values"], np.float64))
            for name, found in data["series"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} holds no series: {error!r}") from None


def _plain(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float | None]:
    """Return the values as JSON has them: null where there is none, with as many digits as mean something."""
    return [round(value, DIGITS) if np.isfinite(value) else None for value in values.tolist()]
