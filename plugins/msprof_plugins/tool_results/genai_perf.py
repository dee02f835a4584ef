"""Reading the raw export of genai-perf, which perf_analyzer wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from msprof_plugins.tool_results.result import NAN, ToolResult, load_json
from pytest_msprof.errors import LoadError
from pytest_msprof.metrics import measure
from pytest_msprof.samples import Sample, Samples

__all__ = ["read"]

EXPORT = "profile_export.json"
NANO = 1e-9


class _Event(NamedTuple):
    moment: int
    has_content: bool
    usage: Mapping[str, Any]


def read(path: Path) -> ToolResult:
    """Read `profile_export.json`, or the folder it lies in; it holds the good requests only.

    Raises `LoadError` when the file is missing or holds several experiments: the tool stops at the
    first failure without a result.
    """
    path = path / EXPORT if path.is_dir() else path
    experiments = load_json(path, "genai-perf", ("experiments",))["experiments"]
    if len(experiments) != 1 or not experiments[0]["requests"]:
        raise LoadError(f"{path} holds {len(experiments)} experiments with requests, but one was wanted")
    rows = [(request["timestamp"], list(_events(request))) for request in experiments[0]["requests"]]
    begin, end = min(start for start, _ in rows), max(events[-1].moment for _, events in rows if events)
    told = experiments[0].get("experiment", {})
    duration = (end - begin) * NANO
    return ToolResult(
        tool="genai-perf",
        measurement=measure(
            Samples.of([_sample(start, events, begin) for start, events in rows]),
            duration,
            notes=("measured by perf_analyzer: tokens are the server's, events where it told none",),
        ),
        window=duration,
        load={
            "model": None,
            "concurrency": told.get("value") if told.get("mode") == "concurrency" else None,
            "request_rate": told.get("value") if told.get("mode") == "request_rate" else None,
            "num_requests": len(rows),
        },
    )


def _events(request: Mapping[str, Any]) -> Iterator[_Event]:
    """Give the events of one answer; those that a response holds together came together."""
    for moment, output in zip(request["response_timestamps"], request["response_outputs"], strict=True):
        for line in str(output.get("response", "")).splitlines():
            text = line.removeprefix("data:").strip()
            if not line.startswith("data:") or text == "[DONE]":
                continue
            event = json.loads(text)
            choice: Mapping[str, Any] = next(iter(event.get("choices") or ()), {})
            content = choice.get("text") or choice.get("delta", {}).get("content")
            yield _Event(moment, bool(content), event.get("usage") or {})


def _sample(start: int, events: list[_Event], begin: int) -> Sample:
    moments = [event.moment - start for event in events if event.has_content]
    usage: Mapping[str, Any] = next((event.usage for event in reversed(events) if event.usage), {})
    since = (start - begin) * NANO
    if not moments:
        return Sample(due=since, start=since, error="empty")
    return Sample(
        due=since,
        start=since,
        ttft=moments[0] * NANO,
        latency=moments[-1] * NANO,
        closed=(events[-1].moment - start) * NANO if events else NAN,
        input_tokens=usage.get("prompt_tokens", -1),
        output_tokens=usage.get("completion_tokens", len(moments)),
        gaps=tuple((np.diff(moments) * NANO).tolist()),
        token_source="usage" if usage else "events",
    )
