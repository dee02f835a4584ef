"""The loads that the options of `pytest-msprof load` spell: one, or a sweep over several."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from pytest_msprof.errors import ConfigurationError, InvalidWorkload
from pytest_msprof.objectives import Objective
from pytest_msprof.sweeps import Sweep
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Dataset, Part, Prefixes, Sessions, Stages, Trace

__all__ = ["objectives_of", "sweep_of", "workload_of"]

SAME = (
    "input_tokens",
    "output_tokens",
    "arrival",
    "burstiness",
    "num_requests",
    "duration",
    "warmup",
    "timeout",
    "endpoint",
    "stream",
    "ignore_eos",
    "extra_body",
    "seed",
)
"""Options that are called as the workload's fields are."""
PARTS: Mapping[str, tuple[type[Part], Mapping[str, str]]] = {
    "prefixes": (Prefixes, {"tokens": "prefix_tokens", "number": "num_prefixes", "share": "prefix_share"}),
    "sessions": (Sessions, {"turns": "turns", "think_time": "think_time", "thinking": "thinking"}),
    "dataset": (
        Dataset,
        {
            "path": "dataset",
            "column": "dataset_column",
            "split": "dataset_split",
            "again": "dataset_again",
            "longest": "longest_prompt",
        },
    ),
    "trace": (
        Trace,
        {"path": "trace", "time_scale": "time_scale", "replay": "trace_lengths", "block_tokens": "trace_block"},
    ),
}
"""Field of the workload → what it is made of, each field with its option; the first option must be given."""


def workload_of(args: argparse.Namespace) -> Workload:
    """Return the workload that the options spell; of a sweep, the one whose load it changes.

    Raises `InvalidWorkload` for an impossible one, and `ConfigurationError` for an option without the
    one that it belongs to.
    """
    given = {name: value for name in SAME if (value := getattr(args, name)) is not None}
    return Workload(
        **given,
        **_load(args),
        models=dict(args.mix or ()),
        sampling=dict(args.sampling or ()),
        goodput=dict(args.goodput),
        **{name: _part(kind, args, options) for name, (kind, options) in PARTS.items()},
    )


def sweep_of(args: argparse.Namespace, workload: Workload) -> Sweep | None:
    """Return the sweep that the options ask for, None for a single load.

    Raises `InvalidWorkload` where several things were asked to change.
    """
    rates, concurrencies = args.request_rate or (), args.concurrency or ()
    if args.sweep is not None:
        if rates or len(concurrencies) > 1:
            raise InvalidWorkload(
                "--sweep finds its rates itself: leave out --request-rate, and give at most one --concurrency"
            )
        return Sweep(workload, points=args.sweep, **({"most": concurrencies[0]} if concurrencies else {}))
    if workload.stages is not None or max(len(rates), len(concurrencies)) <= 1:
        return None
    return Sweep(workload, request_rates=rates) if len(rates) > 1 else Sweep(workload, concurrencies=concurrencies)


def objectives_of(args: argparse.Namespace) -> tuple[Objective, ...]:
    """Return what each run must reach."""
    least = [Objective("goodput", args.goodput_min, is_ceiling=False)] if args.goodput_min is not None else []
    return (*least, *args.fail_on)


def _load(args: argparse.Namespace) -> Mapping[str, object]:
    """Return how fast requests come: fixed, or in stages; of a sweep the first of its values."""
    rates, concurrencies = args.request_rate or (), args.concurrency or ()
    if len(concurrencies) > 1 and rates:
        both = "sweeps over rates or concurrencies, but got both" if len(rates) > 1 else "has one cap beside a rate"
        raise InvalidWorkload(f"a load {both}: --request-rate {_listed(rates)}, --concurrency {_listed(concurrencies)}")
    first = {
        "request_rate": rates[0] if rates else None,
        "concurrency": concurrencies[0] if concurrencies else None,
    }
    if args.steps is None and args.ramp is None:
        return first
    return _staged(args, first, rates, concurrencies)


def _staged(
    args: argparse.Namespace,
    first: Mapping[str, object],
    rates: tuple[float, ...],
    concurrencies: tuple[int, ...],
) -> Mapping[str, object]:
    """Return a load in stages; one concurrency beside changing rates is their cap."""
    if args.steps is not None and args.ramp is not None:
        raise InvalidWorkload("a load goes in --steps or on a --ramp, but got both")
    if args.sweep is not None or max(len(rates), len(concurrencies)) <= 1:
        option = "--ramp" if args.steps is None else "--steps"
        raise InvalidWorkload(f"{option} needs the values to go through: several of --request-rate or --concurrency")
    ramp = args.ramp is not None
    seconds = args.ramp if ramp else args.steps
    if len(rates) > 1:
        return {"stages": Stages(request_rate=rates, seconds=seconds, ramp=ramp), "concurrency": first["concurrency"]}
    return {"stages": Stages(concurrency=concurrencies, seconds=seconds, ramp=ramp)}


def _part(kind: type[Part], args: argparse.Namespace, options: Mapping[str, str]) -> Part | None:
    """Return a part of the workload, None where its first option is not given."""
    given = {field: value for field, name in options.items() if (value := getattr(args, name)) is not None}
    needed = next(iter(options.values()))
    if getattr(args, needed) is not None:
        return kind(**given)
    if given:
        raise ConfigurationError(f"{_option(options[next(iter(given))])} needs {_option(needed)} beside it")
    return None


def _listed(values: tuple[float, ...] | tuple[int, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
