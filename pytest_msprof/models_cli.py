"""`pytest-msprof make-models`: tiny models for trying things out, made locally without a download."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_msprof.errors import UnknownName

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from pytest_msprof.tiny_models import MODELS

    listed = ", ".join(sorted(MODELS))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"models to make (default: all of {listed})")
    parser.add_argument(
        "--output", type=Path, default=Path("models"), metavar="DIR", help="parent folder (%(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Make each model in a folder of its name, and print the folders."""
    from pytest_msprof.tiny_models import MODELS, make_model

    for name in args.names:
        if name not in MODELS:
            raise UnknownName("model", name, MODELS)
    for name in args.names or sorted(MODELS):
        print(make_model(name, args.output / name))
    return 0
