"""Tables of pytest-benchmark show ours in one unit, and everything else as if we were not there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATS = ("min", "max", "mean", "stddev", "median", "iqr", "q1", "q3", "ops", "total", "iqr_outliers", "stddev_outliers")


def entry(name: str, group: str | None, **extra: object) -> dict[str, object]:
    numbers = {**dict.fromkeys(STATS, 2.0), "rounds": 3, "iterations": 1, "outliers": "0;0", "data": [2.0] * 3}
    return {"name": name, "fullname": name, "group": group, "params": None, "extra_info": extra, "stats": numbers}


def test_the_compare_command_shows_ours_in_milliseconds_and_others_in_their_own_unit(tmp_path):
    ours = entry("test_chat:output_throughput", "output_throughput", metric="output_throughput", run_ids=["1"])
    stored = {"version": "5.2.0", "machine_info": {}, "commit_info": {}, "datetime": "2026-01-01T00:00:00"}
    stored["benchmarks"] = [ours, entry("test_other", None)]
    (tmp_path / "0001_now.json").write_text(json.dumps(stored))
    shutil.copy(ROOT / "conftest.py", tmp_path)

    command = [sys.executable, "-m", "pytest_benchmark", "compare", "--group-by=group", "./0001_now.json"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert shown.returncode == 0, shown.stderr
    assert "'output_throughput, as time per token'" in shown.stdout
    assert "2,000.0000" in shown.stdout
    assert "time in ms" in shown.stdout
    assert "time in s" in shown.stdout


def test_a_project_may_scale_its_own_tables(pytester):
    pytester.makepyfile("def test_sum(benchmark):\n    benchmark(sum, range(10))")
    pytester.makeconftest("def pytest_benchmark_scale_unit(unit):\n    return ('fortnight', 1.0)")

    result = pytester.runpytest_subprocess("--benchmark-max-time=0.001", "--benchmark-min-rounds=1")

    result.stdout.fnmatch_lines(["*time in fortnights*"])
