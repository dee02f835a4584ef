"""Reading what `vllm bench serve` wrote, and its twin in Rust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msprof_plugins.tool_results.result import NAN, ToolResult, classify, last_line, load_json
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

TOTALS = ("completed", "failed", "duration")
LISTS = ("ttfts", "itls", "latencies", "start_times", "input_lens", "output_lens", "errors")


def read(path: Path) -> ToolResult:
    """Read a result file that was saved with `--save-detailed`.

    Raises `LoadError` when the file is missing, was written without details, or contradicts itself.
    """
    found = load_json(path, "vllm bench")
    _check(found, path)
    samples, moved = _samples(found)
    return ToolResult(
        tool="vllm bench",
        measurement=measure(samples, found["duration"], notes=tuple(_notes(found, moved))),
        window=found["duration"],
        first_error=last_line(next((text for text in found["errors"] if text), "")),
        load={
            "model": found.get("model_id"),
            "concurrency": found.get("max_concurrency"),
            "request_rate": found["request_rate"] if _is_open_loop(found) else None,
            "num_requests": len(found["errors"]),
        },
    )


def _check(found: Mapping[str, Any], path: Path) -> None:
    if missing := [name for name in (*TOTALS, *LISTS) if name not in found]:
        raise LoadError(f"{path} lacks {', '.join(missing)}: was it written with --save-detailed?")
    completed, failed = found["completed"], found["failed"]
    rows = {len(found[name]) for name in LISTS}
    succeeded = sum(error == "" for error in found["errors"])
    if rows != {completed + failed} or succeeded != completed:
        raise LoadError(
            f"{path} does not add up: it says {completed} completed and {failed} failed, "
            f"and lists {succeeded} without an error among {max(rows)}"
        )


def _samples(found: Mapping[str, Any]) -> tuple[Samples, int]:
    """Turn the lists into samples; a failed request has zeros there, which are no measurements."""
    is_open_loop, is_chat = _is_open_loop(found), "chat" in str(found.get("backend", ""))
    waits = found.get("queue_times") or [0.0] * len(found["errors"])
    begin = min(found["start_times"], default=0.0)
    samples, moved = [], 0
    for index, error in enumerate(found["errors"]):
        ttft, gaps, tokens = found["ttfts"][index], found["itls"][index], found["output_lens"][index]
        if is_chat and not error and gaps and len(gaps) == tokens:
            ttft, gaps, moved = ttft + gaps[0], gaps[1:], moved + 1
        start = found["start_times"][index] - begin
        samples.append(
            Sample(
                due=start - waits[index] if is_open_loop else start,
                start=start,
                ttft=ttft or NAN,
                latency=NAN if error else found["latencies"][index],
                input_tokens=found["input_lens"][index],
                output_tokens=-1 if error else tokens,
                gaps=tuple(gaps),
                token_source="" if error else "usage",
                error=classify(error) if error else "",
            )
        )
    return Samples.of(samples), moved


def _is_open_loop(found: Mapping[str, Any]) -> bool:
    return found.get("request_rate") not in ("inf", None)


def _notes(found: Mapping[str, Any], moved: int) -> Iterator[str]:
    yield "measured by vllm bench: its clock starts before the connection, and nothing bounds one request"
    if moved:
        yield f"{moved} chats: times were moved from the role event to the first one with content"
    elif "chat" in str(found.get("backend", "")):
        yield "ttft may end at the role event: the tool does not tell it from content"
