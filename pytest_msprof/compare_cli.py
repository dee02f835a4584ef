"""`pytest-msprof compare INPUT GOLDEN`: says whether these runs are worse than those."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_msprof.errors import ConfigurationError, Regression
from pytest_msprof.results import Run

if TYPE_CHECKING:
    from pytest_msprof.comparison import Comparison

__all__ = ["add_arguments", "main"]

TOLERANCE = {"output_throughput": 0.05, "ttft.p50": 0.10, "tpot.p50": 0.05}
REGRESSED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="folder of a run, of a golden, or of several runs")
    parser.add_argument("golden", type=Path, metavar="GOLDEN", help="the same, of the runs to compare with")
    parser.add_argument(
        "--tolerance",
        action="append",
        type=_tolerance,
        metavar="METRIC=FRACTION",
        help="what may get worse by how much, such as ttft.p50=0.1 (repeatable; default: "
        + ", ".join(f"{name}={fraction}" for name, fraction in TOLERANCE.items())
        + ")",
    )
    parser.add_argument("--strict", action="store_true", help="fail where evidence is missing, too")


def main(args: argparse.Namespace) -> int:
    """Print one line a metric; 0 is fine, 1 regressed, and what could not be read raises."""
    from pytest_msprof.comparison import ComparisonWarning, Tolerance, compare

    current, golden = (_runs(path) for path in (args.input, args.golden))
    comparison = compare(current, golden, Tolerance(dict(args.tolerance or TOLERANCE)))
    print(comparison.summary())
    for reason in _reasons(comparison):
        print(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ComparisonWarning)
        try:
            comparison.raise_for_regression(strict=args.strict)
        except Regression:
            return REGRESSED
    return 0


def _reasons(comparison: Comparison) -> Sequence[str]:
    """Say why the verdicts are what they are, each thing once."""
    return tuple(dict.fromkeys((*comparison.reasons, *(delta.reason for delta in comparison.gating if delta.reason))))


def _runs(path: Path) -> Sequence[Run]:
    """Load one run, the runs of one golden, or every run below a folder.

    Raises `ConfigurationError` for a folder without runs, and `StoreError` for one that cannot be read.
    """
    from pytest_msprof.golden import GoldenStore
    from pytest_msprof.store import RunStore

    if (path / "golden.json").is_file():
        folder = path.resolve()
        return GoldenStore(folder.parent).load(folder.name.rpartition("-")[2]).runs
    folders = [path] if (path / "run.json").is_file() else sorted(found.parent for found in path.glob("*/run.json"))
    if not folders:
        raise ConfigurationError(
            f"no run in {str(path)!r}: give the folder of a run.json or a golden.json, or a folder of runs"
        )
    return [RunStore(folder.parent).load(folder) for folder in folders]


def _tolerance(text: str) -> tuple[str, float]:
    name, _, fraction = text.partition("=")
    try:
        return name, float(fraction)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs METRIC=FRACTION, such as ttft.p50=0.1, but got {text!r}") from None
