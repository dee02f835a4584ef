"""What a comparison costs: CPU seconds and peak memory for 10,000 to 1,000,000 requests and batches a side.

    python benchmarks/compare_scale.py [--rows 10000 100000 1000000]

Each size runs in a process of its own: it writes two analysed folders and two raw ones, then compares each pair with
all reports. Writing the inputs is not counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

SIZES = (10_000, 100_000, 1_000_000)
MOST_SECONDS, MOST_MEGABYTES = 10.0, 400.0
SUMMARY = ("Metric", "Average", "Max", "Min", "P50", "P90", "P99")


def main() -> None:
    """Write the inputs, and print the costs of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--one", metavar="KIND:FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(Path(args.one))
        return
    print(f"{'rows a side':>12} {'kind':<10} {'CPU s':>8} {'peak MB':>8}")
    for rows in args.rows:
        with tempfile.TemporaryDirectory(prefix="msprof-scale-") as name:
            for kind, write in (("analysed", write_analysed), ("raw", write_raw)):
                folder = Path(name) / kind
                for number, side in enumerate(("input", "golden")):
                    write(folder / side, rows, np.random.default_rng(number))
                told = subprocess.run(
                    [sys.executable, __file__, "--one", str(folder)], check=True, capture_output=True, text=True
                )
                cost = json.loads(told.stdout)
                print(f"{rows:>12,} {kind:<10} {cost['seconds']:>8.2f} {cost['megabytes']:>8.0f}", flush=True)
    print(f"wanted for 1,000,000: at most {MOST_SECONDS:g} CPU s and {MOST_MEGABYTES:g} MB")


def measure(folder: Path) -> None:
    """Compare the two sides in *folder* and print what it cost."""
    from pytest_msprof.cli import main as command

    begin = time.process_time()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        code = command(
            ["compare", str(folder / "input"), str(folder / "golden"), "--output-path", str(folder / "result")]
        )
    seconds = time.process_time() - begin
    assert code in (0, 1), code
    print(json.dumps({"seconds": seconds, "megabytes": _peak()}))


def _peak() -> float:
    """Return the most megabytes this process held; `getrusage` would count those of its parent before the exec."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def write_analysed(folder: Path, rows: int, random: np.random.Generator) -> None:
    """Write what `analyze` leaves: summaries, the tables of rows, and the database."""
    folder.mkdir(parents=True)
    latency, took = random.gamma(4, 5, rows), random.gamma(4, 3, rows)
    sizes = random.integers(1, 64, rows)
    tokens = np.random.default_rng(7).integers(16, 512, rows).astype(float)  # the same requests on both sides
    told = {"first_token_latency (ms)": latency, "total_time (ms)": 20 * latency, "input_token_num": tokens}
    _summary(folder / "request_summary.csv", told | {"generated_token_num": np.full(rows, 32.0)})
    _summary(folder / "batch_summary.csv", {"decode_batch_num": sizes.astype(float)})
    totals = [("Metric", "Value"), ("total_input_token_num", tokens.sum()), ("total_generated_token_num", 32 * rows)]
    _table(folder / "service_summary.csv", totals)
    requests = [
        (str(n), asked, 32.0, 20 * ttft, ttft / 1e3)
        for n, (asked, ttft) in enumerate(zip(tokens.tolist(), latency.tolist(), strict=True))
    ]
    head = ("http_rid", "recv_token_size", "reply_token_size", "execution_time(ms)", "first_token_latency(ms)")
    _table(folder / "request.csv", [head, *requests])
    batches = [
        ("modelExec", "[]", "Decode" if n % 10 else "Prefill", float(size), ms, 1.76e15 + n)
        for n, (size, ms) in enumerate(zip(sizes.tolist(), took.tolist(), strict=True))
    ]
    _table(
        folder / "batch.csv",
        [("name", "res_list", "batch_type", "batch_size", "during_time(ms)", "start_time(ms)"), *batches],
    )
    with closing(sqlite3.connect(folder / "profiler.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE request (http_rid TEXT, recv_token_size REAL, reply_token_size REAL, execution_time REAL, "
            "first_token_latency REAL)"
        )
        connection.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?)", requests)
        connection.execute(
            "CREATE TABLE batch (name TEXT, res_list TEXT, batch_type TEXT, batch_size REAL, during_time REAL, "
            "start REAL)"
        )
        connection.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", batches)


def write_raw(folder: Path, rows: int, random: np.random.Generator) -> None:
    """Write one database of spans."""
    (folder / "Trace_Service").mkdir(parents=True)
    durations = random.gamma(4, 3e6, rows).astype(int).tolist()
    names = ("BatchSchedule", "modelExec", "forward", "sample")
    spans = (
        (json.dumps({"domain": "x", "name": names[n % 4], "type": 2, "batch_size": 8}), 2, n, n, n + 1 + took, 1, 1)
        for n, took in enumerate(durations)
    )
    with closing(sqlite3.connect(folder / "Trace_Service" / "ms_service_1.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE Mstx (message TEXT, flag INTEGER, markId INTEGER, timestamp INTEGER, endTimestamp INTEGER, "
            "pid INTEGER, tid INTEGER)"
        )
        connection.executemany("INSERT INTO Mstx VALUES (?, ?, ?, ?, ?, ?, ?)", spans)


def _summary(path: Path, metrics: dict[str, np.ndarray]) -> None:
    rows = [
        (name, values.mean(), values.max(), values.min(), *np.percentile(values, (50, 90, 99)))
        for name, values in metrics.items()
    ]
    _table(path, [SUMMARY, *rows])


def _table(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
