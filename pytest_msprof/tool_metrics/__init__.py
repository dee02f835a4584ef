"""The figures that other load generators would have shown for the same requests, by their definitions.

`metrics(run.samples, run.duration, dialect="vllm")` has the names and the units of the tool's own
file, so that both can be laid side by side. How the definitions differ: `docs/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pytest_msprof.errors import UnknownName
from pytest_msprof.samples import Samples
from pytest_msprof.tool_metrics.answers import Answers, of_samples

__all__ = ["DIALECTS", "metrics"]

DIALECTS: Mapping[str, str] = {
    "aiperf": "genai_perf",
    "ais_bench": "ais_bench",
    "evalscope": "evalscope",
    "genai_perf": "genai_perf",
    "guidellm": "guidellm",
    "inference_perf": "inference_perf",
    "sglang": "vllm",
    "vllm": "vllm",
}
"""The tools whose definitions are known, and the module that holds each."""


def metrics(samples: Samples, duration: float, *, dialect: str) -> dict[str, Any]:
    """Return the figures of the tool *dialect* for these requests, which took *duration* seconds.

    Only what the requests support is there: a tool that prints 0 for no value has no entry instead.

    Raises `UnknownName` for a tool whose definitions are not known.
    """
    if dialect not in DIALECTS:
        raise UnknownName("metric dialect", dialect, DIALECTS)
    module = import_module(f"{__name__}.{DIALECTS[dialect]}")
    figures: Callable[[Answers, float], dict[str, Any]] = getattr(module, dialect)
    return figures(of_samples(samples), duration)
