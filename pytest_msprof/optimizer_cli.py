"""`pytest-msprof optimizer`: the seed's command line, translated to a test session of the packaged suite."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

import pytest

from pytest_msprof import config_toml
from pytest_msprof.discovery import discover
from pytest_msprof.errors import ConfigurationError, PluginError, UnknownName
from pytest_msprof.optimizer_session import OptimizerSession
from pytest_msprof.registry import REGISTRY, Register

__all__ = ["add_arguments", "main"]

SUITE = Path(__file__).parent / "suite_optimizer"
CONFIG = "config.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the seed's options; every registered engine and benchmark is listed."""
    problems = discover()
    engines, benchmarks = (_listed(register) for register in (REGISTRY.simulators, REGISTRY.benchmarks))
    add = parser.add_argument
    add("-lb", "--load_breakpoint", action="store_true", help="continue the last study instead of starting over")
    add("-d", "--deploy_policy", default="single", help="single; multiple needs an engine that spans machines")
    add("--backup", action="store_true", help="keep the logs of every trial in result/bak")
    add("--pd", default="competition", help="competition; disaggregation needs an engine that does it")
    add("-b", "--benchmark_policy", "--benchmark", default="builtin", metavar=benchmarks, help="load generator")
    add("-e", "--engine", required=True, metavar=engines, help="engine to tune")
    add("-c", "--config", type=Path, metavar="FILE", help="settings file (default: ./config.toml, ~/config.toml)")
    parser.epilog = " ".join(("Every other option goes to pytest: --msprof-model PATH, -x, -v.", *map(str, problems)))
    parser.set_defaults(plugin_problems=problems)


def main(args: argparse.Namespace) -> int:
    """Run the study and return pytest's exit code."""
    _check(args)
    config_toml.use(searched=(Path.home() / CONFIG, Path.cwd() / CONFIG))
    session = OptimizerSession(
        args.engine,
        args.benchmark_policy,
        resume=args.load_breakpoint,
        backup=args.backup,
        started=datetime.now().astimezone(),
    )
    code = int(pytest.main(_arguments(args), plugins=[session]))
    for line in session.best():
        print(line)
    return code


def _arguments(args: argparse.Namespace) -> list[str]:
    """Return pytest's command line: the packaged suite, its own ini file, and files in the working directory."""
    return [
        str(SUITE / "test_optimizer.py"),
        *("-c", str(SUITE / "pytest.ini"), f"--rootdir={Path.cwd()}", "-p", "no:cacheprovider"),
        *("--msprof-engine", args.engine, "--msprof-load", args.benchmark_policy),
        *(("--msprof-config", str(args.config)) if args.config else ()),
        *(() if args.load_breakpoint else ("--msprof-fresh",)),
        *args.rest,
    ]


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything starts.

    Raises `UnknownName` for an engine or benchmark, and `ConfigurationError` for a policy of
    engines that are not here.
    """
    problems: list[PluginError] = args.plugin_problems
    for problem in problems:
        print(f"pytest-msprof: {problem}", file=sys.stderr)
    for register, name in ((REGISTRY.simulators, args.engine), (REGISTRY.benchmarks, args.benchmark_policy)):
        if name not in register:
            raise UnknownName(register.kind, name, register.names())
    for option, given, does_nothing, needs in (
        ("--deploy_policy", args.deploy_policy, "single", "an engine that spans machines (mindie)"),
        ("--pd", args.pd, "competition", "an engine that separates prefill and decode (mindie)"),
    ):
        if given != does_nothing:
            raise ConfigurationError(f"{option} {given} needs {needs}, but the engine is {args.engine!r}")


def _listed(register: Register) -> str:
    return "{" + ",".join(register.names()) + "}"
