"""`pytest-msprof prune`: keeps the newest runs, their logs and reports; goldens and studies stay."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_msprof.errors import ConfigurationError

__all__ = ["add_arguments", "main"]

KEEP = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--keep", type=int, default=KEEP, metavar="N", help="newest runs and reports that stay (%(default)s)"
    )
    parser.add_argument(
        "--rootdir", type=Path, default=Path(), metavar="DIR", help="project whose .msprof is meant (.)"
    )


def main(args: argparse.Namespace) -> int:
    """Delete all but the newest, and say how much went."""
    from pytest_msprof.retention import prune

    if args.keep < 0:
        raise ConfigurationError(f"--keep needs a whole number from 0, but got {args.keep}")
    folder = args.rootdir / ".msprof"
    pruned = prune(folder, args.keep)
    print(f"{folder}: deleted {pruned.runs} runs, {pruned.logs} logs, {pruned.reports} reports")
    return 0
