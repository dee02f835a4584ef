"""The options of `pytest-msprof load`, and the workload they spell."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pytest_msprof.errors import ConfigurationError, InvalidWorkload, MsprofError
from pytest_msprof.objectives import Objective, parse_limit, parse_objective
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Dataset, Lengths, Trace

__all__ = ["add_arguments", "objectives_of", "workload_of"]

Read = TypeVar("Read")
RANDOM = "random"
NUMBERS = (
    ("num_requests", int, "requests that are sent and counted"),
    ("duration", float, "seconds after which no further request is sent"),
    ("concurrency", int, "requests in flight at once (1 without a rate)"),
    ("request_rate", float, "requests a second, each sent when it is due (open loop)"),
    ("burstiness", float, "shape of gamma arrivals, below 1 they crowd"),
    ("warmup", int, "requests sent before, and not counted"),
    ("seed", int, "seed of prompts, lengths and arrivals"),
    ("timeout", float, "seconds after which a request counts as failed"),
)
SHAPES: dict[str, Callable[[float, float], Lengths]] = {"normal": Lengths.normal, "lognormal": Lengths.lognormal}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; what is not given is left to the workload."""
    parser.add_argument(
        "url", metavar="URL", help="the service, such as http://127.0.0.1:8000 or unix:///run/engine.sock"
    )
    parser.add_argument("--model", default="", metavar="NAME", help="name of the model (the one the service lists)")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="folder of tokenizer.json, for exact lengths")
    parser.add_argument(
        "--header", action="append", default=[], type=_typed(_header), metavar="NAME:VALUE",
        help="sent with every request; repeatable",
    )  # fmt: skip
    parser.add_argument("--metrics-url", default="", metavar="URL", help="what the service counts (URL/metrics)")
    _add_workload(parser.add_argument_group("load"))
    _add_objectives(parser.add_argument_group("objectives"))
    out = parser.add_argument_group("output")
    out.add_argument("--json", metavar="FILE", help="write the figures as JSON, - for standard output")
    out.add_argument("--output", type=Path, metavar="DIR", help="keep the run here: figures, every request, its course")


def workload_of(args: argparse.Namespace) -> Workload:
    """Return the workload that the options spell; raises `InvalidWorkload` for an impossible one."""
    given = {name: value for name in Workload.model_fields if (value := getattr(args, name, None)) is not None}
    given["goodput"] = dict(args.goodput)
    given["dataset"] = None if args.dataset == RANDOM else Dataset(path=Path(args.dataset))
    given["trace"] = Trace(path=args.trace, time_scale=args.time_scale) if args.trace else None
    return Workload(**given)


def objectives_of(args: argparse.Namespace) -> tuple[Objective, ...]:
    """Return what the run must reach."""
    least = [Objective("goodput", args.goodput_min, is_ceiling=False)] if args.goodput_min is not None else []
    return (*least, *args.fail_on)


def _add_workload(group: argparse._ArgumentGroup) -> None:
    default = Workload()
    add = group.add_argument
    add("--dataset", default=RANDOM, metavar="FILE", help="prompts from a file (random: synthetic ones)")
    add("--trace", type=Path, metavar="FILE", help="times and lengths of a recorded load")
    add("--time-scale", type=float, default=1.0, metavar="X", help="seconds for each second of the trace (1.0)")
    for name, what in (("input_tokens", "prompt"), ("output_tokens", "answer")):
        meaning = f"tokens of each {what}: N, LOW-HIGH, lognormal:MEAN:STD"
        add(_option(name), type=_typed(_lengths), metavar="N", help=_help(meaning, default, name))
    for name, kind, meaning in NUMBERS:
        add(_option(name), type=kind, metavar="N", help=_help(meaning, default, name))
    add("--arrival", metavar="NAME", help=_help("constant, poisson, gamma, burst", default, "arrival"))
    add("--endpoint", metavar="NAME", help=_help("completions, chat, …", default, "endpoint"))
    add("--ignore-eos", action=argparse.BooleanOptionalAction, help="answer at full length, where the engine can (yes)")


def _add_objectives(group: argparse._ArgumentGroup) -> None:
    limit, objective = _typed(parse_limit), _typed(parse_objective)
    group.add_argument(
        "--goodput", action="append", default=[], type=limit, metavar="METRIC:LIMIT",
        help="limit that a good request keeps, such as ttft:0.5 (seconds); repeatable",
    )  # fmt: skip
    group.add_argument("--goodput-min", type=float, metavar="R", help="good requests a second that the run must reach")
    group.add_argument(
        "--fail-on", action="append", default=[], type=objective, metavar="METRIC>LIMIT",
        help="figure of the run that is a failure, such as 'ttft.p99>0.5' or 'success_rate<0.99'; repeatable",
    )  # fmt: skip


def _lengths(text: str) -> int | Lengths:
    """Read `64`, `32-96` (each length equally likely), `normal:64:16` or `lognormal:64:32` (mean and deviation)."""
    shape, *numbers = text.split(":")
    try:
        if not numbers:
            low, dash, high = text.partition("-")
            return Lengths.uniform(int(low), int(high)) if dash else int(low)
        return SHAPES[shape](*map(float, numbers))
    except (KeyError, TypeError, ValueError):
        raise InvalidWorkload(
            f"lengths are N, LOW-HIGH, normal:MEAN:STD or lognormal:MEAN:STD, but got {text!r}"
        ) from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError("a header is NAME:VALUE, such as 'X-Tenant: blue', but there is no colon or no name")
    return name.strip(), value.strip()


def _typed(read: Callable[[str], Read]) -> Callable[[str], Read]:
    """Let argparse tell what is wrong with a value in our words."""

    def typed(text: str) -> Read:
        try:
            return read(text)
        except MsprofError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _help(meaning: str, workload: Workload, name: str) -> str:
    value = getattr(workload, name)
    return meaning if value is None or "(" in meaning else f"{meaning} ({value})"
