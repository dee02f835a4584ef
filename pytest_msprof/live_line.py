"""One line on the terminal that tells how far a load has come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from pytest_msprof.display import ABSENT, rate, seconds
from pytest_msprof.interfaces import Progress

__all__ = ["live_line", "progress_text"]

NOTHING_YET = Progress(elapsed=0.0, running=0, completed=0, failed=0, output_tokens=0)


@contextmanager
def live_line(stream: TextIO | None = None, *, label: str = "") -> Iterator[Callable[[Progress], None] | None]:
    """Give what shows progress on *stream*, standard error by default; None without a terminal or without `rich`.

    The line, below *label* where there is one, is gone when the load has ended. Drawing it takes 0.1 ms, four
    times a second.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        yield None
        return
    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, transient=True) as line:

        def show(progress: Progress) -> None:
            text = "\n".join(filter(None, (label, progress_text(progress))))
            line.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

        show(NOTHING_YET)  # the first drawing takes many times longer than those after it
        yield show


def progress_text(progress: Progress) -> str:
    """Return the line: time, requests, tokens a second, median and p99 of first tokens, in 80 columns."""
    throughput = progress.output_tokens / progress.elapsed if progress.elapsed > 0 else None
    ttft = seconds(progress.ttft_p50)
    if ttft != ABSENT:
        ttft = f"{ttft}, p99 {seconds(progress.ttft_p99)}"
    return (
        f"{_clock(int(progress.elapsed))}  running {progress.running}  done {progress.completed}  "
        f"failed {progress.failed}  {rate(throughput)}  ttft {ttft}"
    )


def _clock(elapsed: int) -> str:
    """Return a time as clocks show it: `1:01`, `1:00:01`."""
    minutes, rest = divmod(elapsed, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
