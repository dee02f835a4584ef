"""The command that measures an accelerator runs on a processor, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "runner_device.py"


def test_it_measures_each_mode_and_batch_beside_the_bandwidth_of_the_memory(tmp_path):
    lengths = ["--input", "8", "--output", "4", "--rounds", "1", "--batches", "1,2", "--modes", "eager,ge_graph"]
    command = [sys.executable, str(PROGRAM), "--device", "cpu", "--shapes", "tiny", "--json", str(tmp_path / "found")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *lengths], env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found").read_text())
    assert [(entry["mode"], entry["batch"]) for entry in found] == [
        ("eager", 1),
        ("eager", 2),
        ("ge_graph", 1),
        ("ge_graph", 2),
    ]
    assert all(0 < entry["share"] < 1 < entry["decode"] for entry in found)
