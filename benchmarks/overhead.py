"""What the harness itself costs a trial: everything but the engine's start and the load.

    python benchmarks/overhead.py [--trials 24]

Runs a real study on the fake engine in a folder of its own and takes, for each trial, the time of
its whole test item (setup, call, teardown, publishing and reporting included) less the time the
engine took to stop and to answer, and the duration of the load. What the load generator does
around its load (prompts, connections, parsing) is left in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONFTEST = """
import json
import time
from pathlib import Path
from pytest_msprof.testing import FakeSimulator

from pytest_msprof.pool import ServicePool

ITEMS = {}
STOPPED = [0.0]
stop = ServicePool.stop

def timed_stop(pool):
    started = time.monotonic()
    stop(pool)
    STOPPED[0] += time.monotonic() - started

ServicePool.stop = timed_stop

def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", FakeSimulator)

def pytest_runtest_logreport(report):
    ITEMS.setdefault(report.nodeid, {"seconds": 0.0, "runs": []})
    ITEMS[report.nodeid]["seconds"] += report.duration - STOPPED[0]
    STOPPED[0] = 0.0
    ITEMS[report.nodeid]["runs"] += getattr(report, "msprof", {}).get("runs", [])

def pytest_sessionfinish():
    Path("items.json").write_text(json.dumps(ITEMS))
"""

SUITE = """
import pytest
from pytest_msprof import SearchSpace, Workload, integers

LOAD = Workload(input_tokens=8, output_tokens=8, concurrency=8, num_requests=32, warmup=0)
SPACE = SearchSpace(integers("capacity", 1, 512), default={"capacity": 4})

@pytest.mark.tune(SPACE, workload=LOAD, objective="output_throughput", n_trials=%d, confirm=0)
def test_study(trial, launch_service, load_generator, record):
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
"""


def main() -> None:
    """Run the study and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=24)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory(prefix="msprof-overhead-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "test_study.py").write_text(SUITE % trials)
        command = [sys.executable, "-m", "pytest", "-q", "--msprof-engine", "fake", "--msprof-report", "no"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        items = json.loads((folder / "items.json").read_text())
        overheads = [found for item in items.values() if (found := overhead(folder, item)) is not None]
    overheads = overheads[1:]  # the first trial of a process also imports and opens the study
    quarters = statistics.quantiles(overheads, n=4)
    print(f"{len(overheads)} trials: median {1e3 * statistics.median(overheads):.1f} ms a trial")
    print(f"quartiles {1e3 * quarters[0]:.1f} to {1e3 * quarters[2]:.1f} ms, largest {1e3 * max(overheads):.1f} ms")


def overhead(folder: Path, item: dict[str, float | list[str]]) -> float | None:
    """Return the seconds of one item that were neither start nor load, None where it measured nothing."""
    runs = item["runs"]
    if not isinstance(runs, list) or not runs or isinstance(item["seconds"], list):
        return None
    run = json.loads((folder / ".msprof" / "runs" / runs[0] / "run.json").read_text())
    return item["seconds"] - run["environment"]["ready_after"] - run["duration"]


if __name__ == "__main__":
    main()
