"""What the harness itself costs a trial: everything but the suggestion, the engine's start and the load.

    python benchmarks/overhead.py [--trials 24]

Runs a real study on the fake engine in a folder of its own and takes, for each trial, the time of
its whole test item (setup, call, teardown, publishing and reporting included) less the time the
engine took to stop and to answer, the duration of the load, and the suggestion: asking the study
for the next configuration, which is printed apart. What the load generator does around its load
(prompts, connections, parsing) is left in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CONFTEST = """
import json
import time
from pathlib import Path
from pytest_msprof.testing import FakeSimulator

from pytest_msprof.pool import ServicePool

from pytest_msprof.tuning.study import TuneStudy

ITEMS = {}
APART = {"stop": 0.0, "suggestion": 0.0}

def timed(name, method):
    def call(*given):
        started = time.monotonic()
        try:
            return method(*given)
        finally:
            APART[name] += time.monotonic() - started
    return call

ServicePool.stop = timed("stop", ServicePool.stop)
TuneStudy.ask = timed("suggestion", TuneStudy.ask)

def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", FakeSimulator)

def pytest_runtest_logreport(report):
    item = ITEMS.setdefault(report.nodeid, {"seconds": 0.0, "suggestion": 0.0, "runs": []})
    item["seconds"] += report.duration - sum(APART.values())
    item["suggestion"] += APART["suggestion"]
    item["runs"] += getattr(report, "msprof", {}).get("runs", [])
    APART.update(dict.fromkeys(APART, 0.0))

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
        measured = [item for item in items.values() if item["runs"]][1:]  # the first also imports and opens the study
        overheads = [overhead(folder, item) for item in measured]
    print(f"{len(measured)} trials, each beside its start and its load:")
    print(f"the harness {spread(overheads)}")
    print(f"the suggestion {spread([item['suggestion'] for item in measured])}")


def overhead(folder: Path, item: dict[str, Any]) -> float:
    """Return the seconds of one item that were neither suggestion nor start nor load."""
    run = json.loads((folder / ".msprof" / "runs" / item["runs"][0] / "run.json").read_text())
    return float(item["seconds"] - run["environment"]["ready_after"] - run["duration"])


def spread(seconds: list[float]) -> str:
    """Say what a list of durations comes to."""
    low, median, high = (1e3 * quarter for quarter in statistics.quantiles(seconds, n=4))
    return f"{median:.1f} ms (quartiles {low:.1f} to {high:.1f} ms, largest {1e3 * max(seconds):.1f} ms)"


if __name__ == "__main__":
    main()
