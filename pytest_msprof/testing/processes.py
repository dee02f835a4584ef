"""Real processes that do what a test says."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pytest_msprof.process import EngineProcess

__all__ = ["python_process"]


@contextmanager
def python_process(code: str, *, env: Mapping[str, str] | None = None) -> Iterator[EngineProcess]:
    """Run Python *code* as an engine process; leaving the block ends it and everything it started."""
    with tempfile.TemporaryDirectory(prefix="msprof-") as folder:
        command = [sys.executable, "-u", "-c", code]
        log_path = Path(folder) / "python.log"
        with EngineProcess.start(
            command, name="python", env={**os.environ, **(env or {})}, cwd=Path(folder), log_path=log_path
        ) as process:
            yield process
