"""`pytest-msprof compare INPUT GOLDEN`: says whether these launches are worse than those."""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_msprof.errors import ConfigurationError, MsprofError, StoreError
from pytest_msprof.limits import Limit

if TYPE_CHECKING:
    from pytest_msprof.side_by_side import SideBySide
    from pytest_msprof.sources import Source

__all__ = ["add_arguments", "main"]

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
}
REGRESSED, INCOMPARABLE = 1, 2
READABLE = (
    "a run, a golden, an analysed or a raw folder of the profiler, a JSON file of pytest-benchmark or of another load "
    "generator, or a folder of those, one a launch"
)
logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("input", type=Path, metavar="INPUT_PATH", help=READABLE)
    parser.add_argument("golden", type=Path, metavar="GOLDEN_PATH", help="the same, of what to compare with")
    parser.add_argument(
        "--output-path", type=Path, default=Path("compare_result"), metavar="DIR", help="for the tables (%(default)s)"
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="what is told on stderr (%(default)s)")
    parser.add_argument(
        "--fail-on",
        action="append",
        type=_limit,
        default=[],
        metavar="METRIC:+5%",
        help="let only this metric decide: +5%% fails where it grew by more, -5%% where it fell by more (repeatable; "
        "default: every metric whose direction is known, by 5%%)",
    )
    parser.add_argument(
        "--tolerance",
        action="append",
        type=_tolerance,
        dest="fail_on",
        metavar="METRIC=FRACTION",
        help="the same, for whichever direction is worse: ttft.p50=0.1",
    )
    parser.add_argument(
        "--floor",
        type=Path,
        metavar="DIR",
        help="launches of one configuration, measured earlier on this machine: their scatter stands for the noise "
        "where a side has fewer than 4 launches",
    )
    parser.add_argument(
        "--across",
        action="append",
        default=[],
        metavar="NAME",
        help="what differs on purpose: engine, device, a field such as dtype, or field for all of them (repeatable)",
    )
    parser.add_argument("--strict", action="store_true", help="fail where evidence is missing, too")


def main(args: argparse.Namespace) -> int:
    """Print one line a metric and write the tables.

    0: no regression; 1: a regression; 2: nothing could be compared, or something broke: Python's own
    exit code for that is 1. What cannot be read raises.
    """
    try:
        return _compare(args)
    except MsprofError:
        raise
    except Exception:  # noqa: BLE001 - a crash must not look like a regression
        traceback.print_exc()
        return INCOMPARABLE


def _compare(args: argparse.Namespace) -> int:
    from pytest_msprof.discovery import installed
    from pytest_msprof.side_comparison import compare_sources
    from pytest_msprof.side_floor import launches_beside
    from pytest_msprof.side_table import lines
    from pytest_msprof.sources import read_side

    _log(args.log_level)
    plugins, problems = installed()
    for problem in problems:
        logger.warning("%s", problem)

    def foreign(path: Path) -> Source | None:
        found: Source | None = plugins.hook.pytest_msprof_read_result(path=path)
        return found

    now, then = (read_side(path, foreign) for path in (args.input, args.golden))
    floor = read_side(args.floor, foreign) if args.floor else launches_beside(now, then)
    paths = (args.input, args.golden)
    found = compare_sources(now, then, args.fail_on, paths=paths, floor=floor, across=args.across)
    print("\n".join(lines(found, colour=_is_coloured())))
    for note in found.notes:
        logger.info("%s", note)
    for path in _written(plugins.hook.pytest_msprof_write_comparison, found, args.output_path):
        logger.info("wrote %s", path)
    return _exit_code(found, strict=args.strict)


def _is_coloured() -> bool:
    """Colour only what a person sees (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _exit_code(found: SideBySide, *, strict: bool) -> int:
    verdicts = {row.delta.verdict for row in found.gating}
    if found.verdict == "incomparable":
        return INCOMPARABLE
    if "regressed" in verdicts:
        return REGRESSED
    return REGRESSED if strict and (not verdicts or verdicts - {"improved", "unchanged"}) else 0


def _written(write: object, found: SideBySide, folder: Path) -> Sequence[Path]:
    """Let every plugin write its report; raises `StoreError` for a folder that cannot be written."""
    try:
        answers = write(comparison=found, folder=folder)  # type: ignore[operator]
    except OSError as error:
        raise StoreError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from None
    except sqlite3.Error as error:
        raise StoreError(f"{folder} cannot be written: {error}") from None
    return [path for paths in answers if paths for path in paths]


def _log(level: str) -> None:
    """Tell on stderr, of our own messages only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("pytest-msprof: %(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(LEVELS[level])


def _limit(text: str) -> Limit:
    try:
        return Limit.parse(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _tolerance(text: str) -> Limit:
    name, _, fraction = text.partition("=")
    try:
        value = float(fraction)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"needs METRIC=FRACTION, such as ttft.p50=0.1, but got {text!r}") from None
    return Limit(name, value)
