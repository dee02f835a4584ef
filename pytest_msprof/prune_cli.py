"""`pytest-msprof prune`: keeps the newest runs and deletes the rest; goldens and studies stay."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_msprof.errors import ConfigurationError

__all__ = ["add_arguments", "main"]

KEEP = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--keep", type=int, default=KEEP, metavar="N", help="newest runs that stay (%(default)s)")
    parser.add_argument(
        "--rootdir", type=Path, default=Path(), metavar="DIR", help="project whose .msprof is meant (.)"
    )


def main(args: argparse.Namespace) -> int:
    """Delete all but the newest runs, and say how many went."""
    from pytest_msprof.store import RunStore

    if args.keep < 0:
        raise ConfigurationError(f"--keep needs a whole number from 0, but got {args.keep}")
    folder = args.rootdir / ".msprof" / "runs"
    before = _count(folder)
    if before:
        RunStore(folder).prune(args.keep)
    print(f"{folder}: deleted {before - _count(folder)} of {before} runs")
    return 0


def _count(folder: Path) -> int:
    """Count the folders of runs, sealed and partial."""
    return sum(1 for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else 0
