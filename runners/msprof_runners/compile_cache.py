"""Compiled graphs that outlive their process, so that the next start need not compile them again."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_msprof.errors import ConfigurationError

__all__ = ["keep_compiled"]

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable that inductor reads whenever it looks for what it compiled before."""


def keep_compiled(compiler: str, folder: Path) -> None:
    """Keep what *compiler* makes in *folder*; raises `ConfigurationError` for one that is not inductor."""
    if compiler != "inductor":
        raise ConfigurationError(
            "enable_cache_compile keeps graphs of inductor (ge_graph on a processor or CUDA), but the compiler "
            f"of this mode is {compiler}: set it to false"
        )
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER] = str(folder.absolute())
