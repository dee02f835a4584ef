"""How soon an engine that dies while it starts is noticed: from its last act until the launch raises.

    python benchmarks/noticing.py [--starts 20] [--after 0 0.5 2]

Launches an engine through the harness that lives for some seconds, never answers, writes down the time
and exits with code 3; takes the time from that line until `ServiceExited` is raised with the end of the
log, the family's processes ended, and the whole launch beside it. Both read the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar, NamedTuple

from pytest_msprof.errors import ServiceExited
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import launch
from pytest_msprof.testing import FakeSimulator

LAST_ACT = "last act at "
PROGRAM = f"""
import sys, time
time.sleep(float(sys.argv[1]))
print({LAST_ACT!r} + str(time.monotonic()), flush=True)
sys.exit(3)
"""


class Short(FakeSimulator):
    """Lives for `seconds` and is never ready."""

    seconds: ClassVar[float] = 0.0

    def update_command(self) -> None:
        """Make the command."""
        self.command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(self.seconds)]


class Start(NamedTuple):
    """One launch that failed."""

    noticed: float
    """Seconds from the engine's last act until the launch raised."""
    whole: float
    """Seconds that the launch took."""


def main() -> None:
    """Launch and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--after", type=float, nargs="+", default=[0.0, 0.5, 2.0], help="seconds that an engine lives")
    options = parser.parse_args()
    for seconds in options.after:
        found = [start_of(seconds) for _ in range(options.starts)]
        print(f"engine exits after {seconds:g} s, {len(found)} starts")
        for name in Start._fields:
            print(f"  {name:<8} {described([getattr(start, name) for start in found])}")


def start_of(seconds: float) -> Start:
    """Launch an engine that lives for so long."""
    simulator = type("Short", (Short,), {"seconds": seconds})()
    with tempfile.TemporaryDirectory(prefix="msprof-noticing-") as name:
        began = time.monotonic()
        try:
            launch(
                simulator,
                engine="short",
                fields={},
                declared={},
                context=LaunchContext(EngineProcess.start, Path(name)),
            )
        except ServiceExited as error:
            raised = time.monotonic()
            last = next(line for line in error.log_tail.splitlines() if line.startswith(LAST_ACT))
            return Start(raised - float(last.removeprefix(LAST_ACT)), raised - began)
    raise SystemExit("the engine was taken for ready")


def described(values: list[float]) -> str:
    """Return median, quartiles and the largest of times."""
    low, median, high = (
        1e3 * value for value in (statistics.quantiles(values, n=4) if len(values) > 1 else 3 * values)
    )
    return f"median {median:.0f} ms, quartiles {low:.0f} to {high:.0f} ms, largest {1e3 * max(values):.0f} ms"


if __name__ == "__main__":
    main()
