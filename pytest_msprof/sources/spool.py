"""Values by name that may be more than the memory holds: beyond a budget they lie in files."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.json_files import store_errors

__all__ = ["BUDGET", "Spool", "spooled"]

BUDGET = 16_000_000
"""Values of all names together that stay in memory: 128 MB."""


@contextmanager
def spooled(budget: int = BUDGET) -> Iterator[Spool]:
    """Give a spool whose files go with it; raises `StoreError` where there is no room for them."""
    with tempfile.TemporaryDirectory(prefix="msprof-compare-") as folder, store_errors(Path(folder)):
        yield Spool(Path(folder), budget)


class Spool:
    """Values in the order they came, by name."""

    def __init__(self, folder: Path, budget: int) -> None:
        self._folder, self._budget = folder, budget
        self._held: dict[str, array[float]] = {}
        self._files: dict[str, Path] = {}
        self._count = 0

    def add(self, name: str, value: float) -> None:
        """Take one value."""
        self._held.setdefault(name, array("d")).append(value)
        self._count += 1
        if self._count >= self._budget:
            self._flush()

    def extend(self, name: str, values: NDArray[np.floating]) -> None:
        """Take many values, of which there may be none."""
        if not len(values):
            return
        self._held.setdefault(name, array("d")).frombytes(values.astype(np.float64).tobytes())
        self._count += len(values)
        if self._count >= self._budget:
            self._flush()

    def take(self) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Yield each name with its values, shape ``(n,)``, which may be put in order; once, in the order of names."""
        if self._files:
            self._flush()
        for name in sorted({*self._held, *self._files}):
            if path := self._files.get(name):
                yield name, np.memmap(path, np.float64, "r+")
                path.unlink()
            else:
                yield name, np.frombuffer(self._held.pop(name))

    def _flush(self) -> None:
        for name, values in self._held.items():
            path = self._files.setdefault(name, self._folder / str(len(self._files)))
            with path.open("ab") as file:
                values.tofile(file)
        self._held.clear()
        self._count = 0
