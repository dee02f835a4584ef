"""Reading what `guidellm run` wrote to `benchmarks.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msprof_plugins.tool_results.result import NAN, ToolResult, classify, last_line, load_json
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

GROUPS = ("successful", "errored", "incomplete")
CLOSED_LOOP = ("synchronous", "concurrent", "throughput")


def read(path: Path, *, index: int | None = None) -> ToolResult:
    """Read `benchmarks.json`, or the folder it lies in; *index* chooses one of several rates.

    Raises `LoadError` when the file is missing, holds several rates and none was chosen, or
    contradicts itself.
    """
    path = path / "benchmarks.json" if path.is_dir() else path
    benchmarks = load_json(path, "guidellm", ("metadata", "benchmarks"))["benchmarks"]
    if index is None and len(benchmarks) != 1:
        raise LoadError(f"{path} holds {len(benchmarks)} benchmarks, one a rate: choose one by its index")
    benchmark = benchmarks[index or 0]
    rows = [row for group in GROUPS for row in benchmark["requests"].get(group) or ()]
    rows.sort(key=lambda row: row["info"]["timings"]["resolve_start"] or 0.0)
    _check(benchmark, path)
    strategy = benchmark["config"]["strategy"]
    samples = Samples.of(list(_samples(rows, is_open_loop=strategy["type_"] not in CLOSED_LOOP)))
    return ToolResult(
        tool="guidellm",
        measurement=measure(samples, _duration(rows), notes=tuple(_notes(benchmark, rows))),
        window=benchmark["duration"],
        first_error=last_line(next((row["info"]["error"] for row in rows if row["info"]["error"]), "")),
        load={
            "model": benchmark["config"]["backend"].get("model"),
            "concurrency": strategy.get("streams"),
            "request_rate": strategy.get("rate"),
            "num_requests": len(rows),
        },
    )


def _check(benchmark: Mapping[str, Any], path: Path) -> None:
    """Hold the counts of the scheduler against the requests that are listed."""
    listed = [len(benchmark["requests"].get(group) or ()) for group in ("successful", "errored")]
    made = [benchmark["scheduler_state"][f"{name}_requests"] for name in ("successful", "errored")]
    if listed != made:
        raise LoadError(
            f"{path} does not add up: {made[0]} requests succeeded and {made[1]} failed, but it lists {listed[0]} "
            f"and {listed[1]}: was it written with a warm-up, a cool-down or a sample_size?"
        )


def _samples(rows: list[Mapping[str, Any]], *, is_open_loop: bool) -> Iterator[Sample]:
    begin = min((row["request_start_time"] for row in rows if row["request_start_time"]), default=0.0)
    for row in rows:
        timings, error = row["info"]["timings"], _error(row)
        start = timings["request_start"] or timings["resolve_start"] or begin
        first, last, end = (timings[name] for name in ("first_token_iteration", "last_token_iteration", "request_end"))
        tokens = row["output_tokens"]
        yield Sample(
            due=(timings["targeted_start"] or start) - begin if is_open_loop else start - begin,
            start=start - begin,
            ttft=NAN if first is None else first - start,
            latency=NAN if error or last is None else last - start,
            closed=NAN if error or end is None else end - start,
            input_tokens=-1 if row["prompt_tokens"] is None else row["prompt_tokens"],
            output_tokens=-1 if error or tokens is None else tokens,
            token_source="" if error else "usage",
            error=error,
        )


def _error(row: Mapping[str, Any]) -> str:
    info = row["info"]
    if info["error"]:
        return classify(info["error"])
    return "" if info["status"] == "completed" else "cancelled"


def _duration(rows: list[Mapping[str, Any]]) -> float:
    """Return the seconds from the first send to the last end; the tool's own window may leave one out."""
    starts = [row["request_start_time"] for row in rows if row["request_start_time"]]
    ends = [row["info"]["completed_at"] or row["request_end_time"] for row in rows]
    return max((end for end in ends if end), default=0.0) - min(starts, default=0.0) if starts else 0.0


def _notes(benchmark: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "measured by guidellm: wall clock, and it keeps no gaps, so that there is no itl"
    done = [row for row in rows if row["info"]["status"] == "completed"]
    if fewer := sum((row["output_tokens"] or 0) > row["info"]["timings"]["token_iterations"] for row in done):
        yield (
            f"{fewer} of {len(done)} answers have fewer events than tokens: several tokens came in one event, or "
            f"guidellm gave the length asked for, as it does where a server counts nothing"
        )
    for warning in benchmark.get("warnings") or ():
        yield f"guidellm warns: {warning.get('code', warning) if isinstance(warning, Mapping) else warning}"
