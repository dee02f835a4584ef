"""`pytest-msprof load URL`: sends a load to a service that already runs, and prints what was measured."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_msprof.errors import ConfigurationError, LoadError, StoreError, UnknownName
from pytest_msprof.ids import new_id
from pytest_msprof.interfaces import LoadGenerator, LoadJob, SimulatorInterface, Target
from pytest_msprof.json_files import store_errors, write_json
from pytest_msprof.live_line import live_line
from pytest_msprof.load_arguments import add_arguments, objectives_of, workload_of
from pytest_msprof.load_figures import figures, lines
from pytest_msprof.monitors import Monitor, Watched
from pytest_msprof.objectives import Objective
from pytest_msprof.redaction import redact
from pytest_msprof.requests import tokenizer_digest
from pytest_msprof.results import Measurement, Run
from pytest_msprof.series_file import write_series
from pytest_msprof.store import PartialRun
from pytest_msprof.watched_load import run_load
from pytest_msprof.workload import Workload

__all__ = ["add_arguments", "main"]

GENERATOR = "builtin"
ENGINE = "external"
MISSED = 1
STDOUT = "-"


def main(args: argparse.Namespace) -> int:
    """Send the load and print the figures; 1 says that an objective was missed.

    Raises `ConfigurationError` for what cannot be meant, and `LoadError` when nobody answers or
    nothing could be measured.
    """
    workload, objectives = workload_of(args), objectives_of(args)
    if any(wanted.metric == "goodput" for wanted in objectives) and not workload.goodput:
        raise ConfigurationError("goodput needs to know what a good request is: give --goodput, such as ttft:0.5")
    _make_room(args.json)
    run = _run(args, workload)
    _tell(run, objectives, args.json)
    missed = [found for wanted in objectives if not (found := wanted.judge(run)).met]
    for found in missed:
        print(f"pytest-msprof: missed: {found.text}", file=sys.stderr)
    if objectives and run.client_limited:
        print(f"pytest-msprof: no verdict: the client was the bottleneck: {run.client_limited}", file=sys.stderr)
    return MISSED if missed or (objectives and run.client_limited) else 0


def _make_room(destination: str | None) -> None:
    """Take away the figures of an earlier load: what lies there afterwards is of this one, or nothing."""
    if destination is None or destination == STDOUT:
        return
    path = Path(destination)
    if not path.parent.is_dir():
        raise ConfigurationError(f"--json {path}: there is no folder {path.parent}")
    with store_errors(path):
        path.unlink(missing_ok=True)


def _tell(run: Run, objectives: Sequence[Objective], destination: str | None) -> None:
    """Print the figures, as JSON where the user wants them so."""
    if destination == STDOUT:
        json.dump(figures(run, objectives), sys.stdout, indent=1, allow_nan=False)
        print()
        return
    if destination:
        write_json(Path(destination), figures(run, objectives))
    print("\n".join(lines(run, objectives)))


def _run(args: argparse.Namespace, workload: Workload) -> Run:
    """Measure, and keep the run where the user wants it."""
    with ExitStack() as stack:
        output = args.output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="msprof-load-"))) / "run"
        unfinished = output.with_name(f"{output.name}.partial")
        if output.exists() and any(output.iterdir()):
            raise StoreError(f"{output} is not empty: a run is written once, into a folder of its own")
        if unfinished.exists():
            raise StoreError(
                f"{unfinished} holds what a load left that was killed: remove it, or give another --output"
            )
        generator, simulator = _generator(), _simulator(args, output.parent)
        partial = PartialRun(new_id(), unfinished)
        try:
            run = _measured(args, workload, simulator, generator, partial)
        except BaseException as error:
            nothing = isinstance(error, LoadError) or not partial.written
            partial.discard() if nothing else partial.close()
            raise
        partial.complete(run.samples)
        write_series(partial.folder, run.series)
        partial.seal(run, output)
        return run


def _measured(
    args: argparse.Namespace,
    workload: Workload,
    simulator: SimulatorInterface,
    generator: LoadGenerator,
    partial: PartialRun,
) -> Run:
    from pytest_msprof.hardware import device_kind, hardware

    target, started_at = _target(args, simulator), datetime.now(UTC)
    watched = Watched(target.base_url, target.api_key, headers=target.headers, metrics_url=args.metrics_url)
    facts = redact(dict(simulator.describe()))  # asks for the dialect, which must not count as a request of the load
    with _interruptible() as stop, live_line() as show:
        job = LoadJob(
            workload=workload, target=target, folder=partial.folder, sink=partial.write, progress=show, stop=stop
        )
        measured = _succeeded(run_load(generator, job, monitors=_monitors(), watched=watched))
    return Run.of(
        measured,
        id=partial.run_id,
        launch_id=new_id(),
        engine=ENGINE,
        load_generator=GENERATOR,
        workload=workload,
        workload_hash=workload.hash(tokenizer_digest(target.tokenizer)),
        model=target.model,
        device=device_kind(),
        environment={**hardware(), "url": redact(args.url), **facts},
        started_at=started_at,
    )


def _succeeded(measured: Measurement) -> Measurement:
    if not measured.completed:
        raise LoadError(f"none of {measured.failed} requests succeeded: {dict(measured.errors)}")
    return measured


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Give what says whether Ctrl-C was pressed; pressed again, it interrupts at once."""
    asked = False

    def ask(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _generator() -> LoadGenerator:
    from pytest_msprof.discovery import discover
    from pytest_msprof.registry import REGISTRY

    problems = discover()
    if GENERATOR not in REGISTRY.benchmarks and problems:
        raise problems[0]
    generator: LoadGenerator = REGISTRY.benchmarks.make(GENERATOR)
    return generator


def _monitors() -> dict[str, Monitor]:
    from pytest_msprof.registry import REGISTRY

    return {name: REGISTRY.monitors.make(name) for name in REGISTRY.monitors.names()}


def _simulator(args: argparse.Namespace, folder: Path) -> SimulatorInterface:
    """Return what knows the service as the engine `external` does: its model's name and its dialect are asked for."""
    from pytest_msprof.interfaces import LaunchContext
    from pytest_msprof.process import EngineProcess
    from pytest_msprof.registry import REGISTRY

    if ENGINE not in REGISTRY.simulators:
        raise UnknownName("engine", ENGINE, REGISTRY.simulators.names())
    made: Any = REGISTRY.simulators.make(ENGINE)
    made.headers = dict(args.header)
    simulator: SimulatorInterface = made
    simulator.configure(
        LaunchContext(
            launcher=EngineProcess.start, folder=folder, model=args.model or None, base_url=args.url.rstrip("/")
        )
    )
    simulator.update_command()
    return simulator


def _target(args: argparse.Namespace, simulator: SimulatorInterface) -> Target:
    try:
        return Target(
            base_url=simulator.root_url,
            model=args.model or simulator.served_model,
            tokenizer=args.tokenizer or simulator.tokenizer_path,
            request_options=simulator.request_options,
            api_key=getattr(simulator, "api_key", None),
            headers=dict(args.header),
        )
    except OSError as error:
        raise LoadError(f"nobody answers at {redact(args.url)}: {error}") from None
