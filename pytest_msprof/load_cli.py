"""`pytest-msprof load URL`: sends a load to a service that already runs, or several, and prints what was measured."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_msprof.display import load_of
from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.json_files import store_errors, write_json
from pytest_msprof.live_line import live_line
from pytest_msprof.load_arguments import add_arguments
from pytest_msprof.load_figures import figures, sweep_figures
from pytest_msprof.load_table import heading, remarks, row
from pytest_msprof.load_text import lines
from pytest_msprof.load_workload import objectives_of, sweep_of, workload_of
from pytest_msprof.objectives import Objective
from pytest_msprof.results import Run

if TYPE_CHECKING:
    from pytest_msprof.load_sending import Sender
    from pytest_msprof.sweeps import Sweep
    from pytest_msprof.workload import Workload

__all__ = ["add_arguments", "main"]

MISSED, NOTHING = 1, 2
STDOUT = "-"


def main(args: argparse.Namespace) -> int:
    """Send what was asked for and print the figures; 1 says that an objective was missed.

    Raises `ConfigurationError` for what cannot be meant, and `LoadError` when nobody answers or
    nothing could be measured.
    """
    from pytest_msprof.load_sending import Sender, check_free

    workload, objectives = workload_of(args), objectives_of(args)
    sweep = sweep_of(args, workload)
    if any(wanted.metric == "goodput" for wanted in objectives) and not workload.goodput:
        raise ConfigurationError("goodput needs to know what a good request is: give --goodput, such as ttft:0.5")
    _make_room(args.json)
    with _output(args.output) as output:
        check_free(output)
        sender = Sender(args, output.parent)
        if sweep is None:
            return _one(sender, workload, output, objectives, args.json)
        return _several(sender, sweep, output, objectives, args.json)


def _one(sender: Sender, workload: Workload, output: Path, objectives: Sequence[Objective], told: str | None) -> int:
    """Send one load and tell what came of it."""
    with _interruptible() as stop, live_line() as show:
        run = sender.send(workload, output, progress=show, stop=stop)
    _write(figures(run, objectives), told)
    if told != STDOUT:
        print("\n".join(lines(run, objectives)))
    return _judge([run], objectives)


def _several(sender: Sender, sweep: Sweep, output: Path, objectives: Sequence[Objective], told: str | None) -> int:
    """Send one load after the other, a row each; one of which nothing could be measured ends the sweep."""
    runs: list[Run] = []
    show_row: Callable[[str], None] = print if told != STDOUT else lambda _line: None
    failure: LoadError | None = None
    with _interruptible() as stop:
        for workload in sweep.workloads():
            folder = output / f"{len(runs) + 1:02}-{_spelled(workload)}"
            label = f"load {len(runs) + 1} of {len(sweep)}: {load_of(workload)}"
            try:
                with live_line(label=label) as show:
                    run = sender.send(workload, folder, progress=show, stop=stop)
            except LoadError as error:
                failure = error
                break
            if not runs:
                show_row(heading(run))
            show_row(row(run))
            runs.append(run)
            if stop():
                break
            sweep.tell(run)
    complete = failure is None and len(runs) == len(sweep) and runs[-1].complete
    _write(sweep_figures(runs, objectives, complete=complete), told)
    if runs and told != STDOUT:
        print("\n".join(remarks(runs)))
    judged = _judge(runs, objectives)
    if failure is None:
        return judged
    print(f"pytest-msprof: the sweep ended after {len(runs)} of {len(sweep)} loads: {failure}", file=sys.stderr)
    return NOTHING


def _spelled(workload: Workload) -> str:
    """Return the load as a word of a file's name."""
    if workload.request_rate is not None:
        return f"request-rate-{workload.request_rate:.4g}"
    return f"concurrency-{workload.concurrency}"


def _judge(runs: Sequence[Run], objectives: Sequence[Objective]) -> int:
    """Return the exit code, and tell on standard error what was missed or has no verdict."""
    code = 0
    for run in runs:
        where = f" at {load_of(run.workload)}" if len(runs) > 1 else ""
        for found in (wanted.judge(run) for wanted in objectives):
            if not found.met:
                print(f"pytest-msprof: missed{where}: {found.text}", file=sys.stderr)
                code = MISSED
        if objectives and run.client_limited:
            print(
                f"pytest-msprof: no verdict{where}: the client was the bottleneck: {run.client_limited}",
                file=sys.stderr,
            )
            code = MISSED
    return code


@contextmanager
def _output(wanted: Path | None) -> Iterator[Path]:
    """Give the folder of what is kept: where the user wants it, or one that is gone afterwards."""
    if wanted is not None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="msprof-load-") as folder:
        yield Path(folder) / "run"


def _make_room(destination: str | None) -> None:
    """Take away the figures of an earlier load: what lies there afterwards is of this one, or nothing."""
    if destination is None or destination == STDOUT:
        return
    path = Path(destination)
    if not path.parent.is_dir():
        raise ConfigurationError(f"--json {path}: there is no folder {path.parent}")
    with store_errors(path):
        path.unlink(missing_ok=True)


def _write(content: dict[str, Any], destination: str | None) -> None:
    """Write the figures as JSON, where the user wants them so."""
    if destination == STDOUT:
        json.dump(content, sys.stdout, indent=1, allow_nan=False)
        print()
    elif destination:
        write_json(Path(destination), content)


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
