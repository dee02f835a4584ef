"""Sending loads to one service that already runs, each kept as a run of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_msprof.benchmark_process import make_generator
from pytest_msprof.errors import LoadError, StoreError, UnknownName
from pytest_msprof.ids import new_id
from pytest_msprof.interfaces import LaunchContext, LoadGenerator, LoadJob, Progress, SimulatorInterface, Target
from pytest_msprof.monitors import Monitor, Watched
from pytest_msprof.process import EngineProcess
from pytest_msprof.redaction import redact
from pytest_msprof.registry import REGISTRY
from pytest_msprof.requests import tokenizer_digest
from pytest_msprof.results import Run, Value
from pytest_msprof.series_file import write_series
from pytest_msprof.store import PartialRun
from pytest_msprof.watched_load import run_load
from pytest_msprof.workload import Workload

__all__ = ["Sender", "check_free"]

ENGINE = "external"


class Sender:
    """What the options say of service and load generator, asked and made once for all loads.

    Raises `UnknownName` for a load generator that is not registered, `ConfigurationError` where the
    model must be named, and `LoadError` when nobody answers.
    """

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self._name = args.load_generator
        self._generator = _generator(self._name)
        self._fields: Mapping[str, Value] = {} if args.workers is None else {"workers": args.workers}
        self._context = LaunchContext(
            launcher=EngineProcess.start, folder=folder, model=args.model or None, base_url=args.url.rstrip("/")
        )
        simulator = _simulator(args, self._context)
        self._target = _target(args, simulator)
        self._watched = Watched(
            self._target.base_url, self._target.api_key, headers=self._target.headers, metrics_url=args.metrics_url
        )
        self._facts = {"url": redact(args.url), **redact(dict(simulator.describe()))}
        self._launch_id = new_id()
        self._sent = 0

    def send(
        self,
        workload: Workload,
        output: Path,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Run:
        """Send *workload*, new text each time, and keep the run as *output*.

        Raises `LoadError` when nothing was measured: then nothing is kept.
        """
        partial = PartialRun(new_id(), _unfinished(output))
        job = LoadJob(
            workload=workload,
            target=self._target,
            folder=partial.folder,
            step=self._sent,
            fields=self._fields,
            sink=partial.write,
            context=self._context,
            progress=progress,
            stop=stop,
        )
        self._sent += 1
        try:
            run = self._run(job, partial.run_id)
        except BaseException as error:
            nothing = isinstance(error, LoadError) or not partial.written
            partial.discard() if nothing else partial.close()
            raise
        partial.complete(run.samples)
        write_series(partial.folder, run.series)
        partial.seal(run, output)
        return run

    def _run(self, job: LoadJob, run_id: str) -> Run:
        from pytest_msprof.hardware import device_kind, hardware

        started_at = datetime.now(UTC)
        measured = run_load(self._generator, job, monitors=_monitors(), watched=self._watched)
        if not measured.completed:
            raise LoadError(f"none of {measured.failed} requests succeeded: {dict(measured.errors)}")
        return Run.of(
            measured,
            id=run_id,
            launch_id=self._launch_id,
            engine=ENGINE,
            load_generator=self._name,
            load_fields=dict(self._fields),
            workload=job.workload,
            workload_hash=job.workload.hash(tokenizer_digest(self._target.tokenizer)),
            model=self._target.model,
            device=device_kind(),
            environment={**hardware(), **self._facts},
            started_at=started_at,
        )


def check_free(output: Path) -> None:
    """Raise `StoreError` where something lies already at *output*, or what a killed load left."""
    if output.exists() and any(output.iterdir()):
        raise StoreError(f"{output} is not empty: a run is written once, into a folder of its own")
    if (unfinished := _unfinished(output)).exists():
        raise StoreError(f"{unfinished} holds what a load left that was killed: remove it, or give another --output")


def _unfinished(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")


def _generator(name: str) -> LoadGenerator:
    from pytest_msprof.discovery import discover

    problems = discover()
    if name not in REGISTRY.benchmarks and problems:
        raise problems[0]
    return make_generator(REGISTRY.benchmarks.get(name))


def _monitors() -> dict[str, Monitor]:
    return {name: REGISTRY.monitors.make(name) for name in REGISTRY.monitors.names()}


def _simulator(args: argparse.Namespace, context: LaunchContext) -> SimulatorInterface:
    """Return what knows the service as the engine `external`: its model's name and its dialect are asked for."""
    if ENGINE not in REGISTRY.simulators:
        raise UnknownName("engine", ENGINE, REGISTRY.simulators.names())
    made: Any = REGISTRY.simulators.make(ENGINE)
    made.headers = dict(args.header)
    simulator: SimulatorInterface = made
    simulator.configure(context)
    simulator.update_command()
    return simulator


def _target(args: argparse.Namespace, simulator: SimulatorInterface) -> Target:
    try:
        return Target(
            base_url=simulator.root_url,
            model=args.model or simulator.served_model,
            tokenizer=args.tokenizer.resolve() if args.tokenizer else simulator.tokenizer_path,
            request_options=simulator.request_options,
            api_key=getattr(simulator, "api_key", None),
            headers=dict(args.header),
        )
    except OSError as error:
        raise LoadError(f"nobody answers at {redact(args.url)}: {error}") from None
