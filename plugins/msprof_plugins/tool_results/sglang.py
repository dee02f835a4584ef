"""Reading what `sglang.benchmark.serving` appended to its result file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msprof_plugins.tool_results.result import NAN, ToolResult, classify, last_line
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

LISTS = ("ttfts", "itls", "input_lens", "output_lens", "errors")
ENDLESS = float("inf")


def read(path: Path) -> ToolResult:
    """Read the last line of a file that was written with `--output-details`: each run appends one.

    Raises `LoadError` when the file is missing, was written without details, or contradicts itself.
    """
    lines = _lines(path)
    found = lines[-1]
    if missing := [name for name in ("duration", "completed", *LISTS) if name not in found]:
        raise LoadError(f"{path} lacks {', '.join(missing)}: was it written with --output-details?")
    succeeded = sum(error == "" for error in found["errors"])
    if succeeded != found["completed"] or {len(found[name]) for name in LISTS} != {len(found["errors"])}:
        raise LoadError(f"{path} does not add up: {found['completed']} completed, but {succeeded} have no error")
    notes = ["measured by sglang: a connection a request, no start times, and a request lasts until its last gap"]
    if len(lines) > 1:
        notes.append(f"the file holds {len(lines)} runs, of which the last was read")
    if fewer := sum(len(gaps) + 1 < tokens for gaps, tokens in zip(found["itls"], found["output_lens"], strict=True)):
        notes.append(
            f"{fewer} answers have fewer events than tokens: several tokens came in one event, or sglang gave the "
            f"length asked for, as it does where a server counts nothing"
        )
    rate = found.get("request_rate")
    return ToolResult(
        tool="sglang",
        measurement=measure(_samples(found), found["duration"], notes=tuple(notes)),
        window=found["duration"],
        first_error=last_line(next((error for error in found["errors"] if error), "")).replace("\0", ""),
        load={
            "model": None,
            "concurrency": found.get("max_concurrency"),
            "request_rate": None if rate == ENDLESS else rate,
            "num_requests": len(found["errors"]),
        },
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise LoadError(f"sglang wrote no result: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise LoadError(f"sglang wrote a broken line to {path}: {error}") from None
    if not lines or not isinstance(lines[-1], dict):
        raise LoadError(f"sglang wrote no JSON object to {path}")
    return lines


def _samples(found: dict[str, Any]) -> Samples:
    samples = []
    for index, error in enumerate(found["errors"]):
        ttft, gaps = found["ttfts"][index], tuple(found["itls"][index])
        samples.append(
            Sample(
                due=NAN,
                start=NAN,
                ttft=ttft or NAN,
                latency=NAN if error else ttft + sum(gaps),
                input_tokens=found["input_lens"][index],
                output_tokens=-1 if error else found["output_lens"][index],
                gaps=gaps,
                token_source="" if error else "usage",
                error=classify(error) if error else "",
            )
        )
    return Samples.of(samples)
