"""The command `pytest-msprof`: everything that is not a test session of your own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from pytest_msprof.errors import MsprofError

__all__ = ["main"]

FAILED = 2


class _Command(NamedTuple):
    module: str
    help: str
    forwards: bool = False
    """Whether options that it does not know go to pytest."""


_COMMANDS = {
    "init": _Command("init_cli", "copy the packaged suites into a folder, to run and to change"),
    "optimizer": _Command("optimizer_cli", "tune an engine over the fields of a config.toml", forwards=True),
    "load": _Command("load_cli", "send a load to a running service and print what was measured"),
    "compare": _Command("compare_cli", "compare a run with a golden one"),
    "rank": _Command("rank_cli", "rank the trials of a study under other objectives and limits, without a new run"),
    "make-models": _Command("models_cli", "make tiny models locally, without a download"),
    "prune": _Command("prune_cli", "delete old runs"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2 for what could not be done."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(given)
    except MsprofError as error:
        print(f"pytest-msprof: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("pytest-msprof: interrupted", file=sys.stderr)
        return FAILED


def _run(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="pytest-msprof", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in given if not word.startswith("-")), "")
    for name, command in _COMMANDS.items():
        part = commands.add_parser(name, help=command.help, description=command.help)
        if name == chosen:
            import_module(f"pytest_msprof.{command.module}").add_arguments(part)
    args, rest = parser.parse_known_args(given)
    if rest and not _COMMANDS[args.command].forwards:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    return int(import_module(f"pytest_msprof.{_COMMANDS[args.command].module}").main(args))


if __name__ == "__main__":
    raise SystemExit(main())
