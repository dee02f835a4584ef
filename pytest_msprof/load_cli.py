"""`pytest-msprof load URL`: sends a load to a service that already runs, and prints what was measured."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytest_msprof.errors import ConfigurationError, LoadError, UnknownName
from pytest_msprof.interfaces import LoadGenerator, LoadJob, SimulatorInterface, Target
from pytest_msprof.redaction import redact
from pytest_msprof.results import Measurement
from pytest_msprof.workload import Workload

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; their defaults are the workload's."""
    default = Workload()
    parser.add_argument("url", metavar="URL", help="the service, such as http://127.0.0.1:8000")
    parser.add_argument("--model", default="", help="name of the model in requests (default: what the service says)")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="folder of tokenizer.json, for exact lengths")
    for name in ("input_tokens", "output_tokens", "num_requests", "seed", "warmup"):
        value = getattr(default, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, metavar="N", help="(%(default)s)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="requests in flight (1 without a rate)")
    parser.add_argument("--request-rate", type=float, metavar="R", help="requests a second, open loop")
    parser.add_argument("--endpoint", choices=("completions", "chat"), default=default.endpoint)
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON, - for standard output")
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep files of the load here")


def main(args: argparse.Namespace) -> int:
    """Send the load and print the figures.

    Raises `ConfigurationError` for what is no URL, and `LoadError` when nobody answers there or no
    request succeeded.
    """
    if not args.url.startswith(("http://", "https://")):
        raise ConfigurationError(f"a service needs an http:// or https:// URL, but got {redact(args.url)!r}")
    workload = Workload(**{name: getattr(args, name) for name in Workload.model_fields if hasattr(args, name)})
    generator = _generator()
    with tempfile.TemporaryDirectory(prefix="msprof-load-") as scratch:
        folder = args.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            target = _target(args, folder)
        except OSError as error:
            raise LoadError(f"nobody answers at {redact(args.url)}: {error}") from None
        measured = generator.generate(LoadJob(workload=workload, target=target, folder=folder))
    if not measured.completed:
        raise LoadError(f"none of {measured.failed} requests succeeded: {dict(measured.errors)}")
    _report(measured, workload, args.json)
    return 0


def _generator() -> LoadGenerator:
    from pytest_msprof.discovery import discover
    from pytest_msprof.registry import REGISTRY

    problems = discover()
    if "builtin" not in REGISTRY.benchmarks and problems:
        raise problems[0]
    generator: LoadGenerator = REGISTRY.benchmarks.make("builtin")
    return generator


def _target(args: argparse.Namespace, folder: Path) -> Target:
    """Describe the service as the engine `external` sees it: model name and dialect are asked for."""
    from pytest_msprof.interfaces import LaunchContext
    from pytest_msprof.process import EngineProcess
    from pytest_msprof.registry import REGISTRY

    if "external" not in REGISTRY.simulators:
        raise UnknownName("engine", "external", REGISTRY.simulators.names())
    simulator: SimulatorInterface = REGISTRY.simulators.make("external")
    context = LaunchContext(
        launcher=EngineProcess.start, folder=folder, model=args.model or None, base_url=args.url.rstrip("/")
    )
    simulator.configure(context)
    simulator.update_command()
    return Target(
        base_url=simulator.root_url,
        model=args.model or simulator.served_model,
        tokenizer=args.tokenizer or simulator.tokenizer_path,
        request_options=simulator.request_options,
        api_key=getattr(simulator, "api_key", None),
    )


def _report(measured: Measurement, workload: Workload, destination: str | None) -> None:
    figures = _figures(measured, workload)
    if destination:
        text = json.dumps(figures, indent=2) + "\n"
        if destination == "-":
            sys.stdout.write(text)
            return
        Path(destination).write_text(text, encoding="utf-8")
    from pytest_msprof.display import metric_value

    print(f"{measured.completed} of {measured.completed + measured.failed} requests in {measured.duration:.2f} s")
    for name, value in figures["metrics"].items():
        print(f"{name:20} {metric_value(name, value)}")
    for name, statistics in figures["distributions"].items():
        shown = {key: value for key, value in statistics.items() if key in ("mean", "p50", "p99")}
        line = "  ".join(f"{key} {metric_value(f'{name}.{key}', value)}" for key, value in shown.items())
        print(f"{name:20} {line}")
    for note in measured.notes:
        print(f"note: {note}")


def _figures(measured: Measurement, workload: Workload) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "workload": workload.model_dump(mode="json"),
        "duration": measured.duration,
        "completed": measured.completed,
        "failed": measured.failed,
        "errors": dict(measured.errors),
        "metrics": dict(measured.metrics),
        "distributions": {name: found.root for name, found in measured.distributions.items()},
        "notes": list(measured.notes),
    }
