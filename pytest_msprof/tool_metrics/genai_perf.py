"""Figures as aiperf 0.13 defines them (`metrics/types`, `metrics/derived_latency.py`), and genai-perf before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_msprof.tool_metrics.answers import Answers, Values, percentile_names

__all__ = ["aiperf", "genai_perf"]

PERCENTILES = percentile_names(1, 5, 10, 25, 50, 75, 90, 95, 99)
MILLI = 1000.0


def aiperf(answers: Answers, duration: float) -> dict[str, Any]:
    """Return the metrics of its summary, tokens counted by the server.

    Its clock starts before the connection. Its *inter-token latency* is one mean a request, over all
    tokens but one: what others call time per output token; `inter_chunk_latency` are the gaps. With
    failures there are percentiles in which each failed request took forever.
    """
    times = {
        "request_latency": answers.latency + answers.connect,
        "time_to_first_token": answers.ttft + answers.connect,
        "inter_token_latency": answers.after_first(),
        "inter_chunk_latency": answers.gaps,
    }
    adjusted = {
        f"adj_{name}": _adjusted(values * MILLI, answers.failed)
        for name, values in times.items()
        if answers.failed and name != "inter_chunk_latency"
    }
    return {**_common(answers, duration, times), **_counts(answers), **adjusted}


def genai_perf(answers: Answers, duration: float) -> dict[str, Any]:
    """Return the metrics of its summary: the latency between tokens is rounded to whole nanoseconds."""
    times = {
        "request_latency": answers.latency + answers.connect,
        "time_to_first_token": answers.ttft + answers.connect,
        "inter_token_latency": np.round(answers.after_first() * 1e9) / 1e9,
    }
    return {**_common(answers, duration, times), "request_count": {"unit": "count", "avg": float(answers.ttft.size)}}


def _common(answers: Answers, duration: float, times: dict[str, Values]) -> dict[str, Any]:
    completed, tokens = answers.ttft.size, float(np.nansum(answers.output_tokens))
    found = {
        **{name: _statistics("ms", values * MILLI) for name, values in times.items()},
        "output_sequence_length": _statistics("tokens", answers.output_tokens),
        "input_sequence_length": _statistics("tokens", answers.input_tokens),
        "request_throughput": {"unit": "requests/sec", "avg": completed / duration},
        "output_token_throughput": {"unit": "tokens/sec", "avg": tokens / duration},
    }
    return {name: figures for name, figures in found.items() if figures}


def _counts(answers: Answers) -> dict[str, Any]:
    """Return what was answered, and the failures, of which nothing is said where there are none."""
    sent = answers.ttft.size + answers.failed
    completed = {"request_count": {"unit": "requests", "avg": float(answers.ttft.size)}}
    if not answers.failed:
        return completed
    return {
        **completed,
        "error_request_count": {"unit": "requests", "avg": float(answers.failed)},
        "request_error_rate": {"unit": "%", "avg": 100 * answers.failed / sent},
    }


def _statistics(unit: str, values: Values) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not values.size:
        return {}
    return {
        "unit": unit,
        "avg": float(values.mean()),
        **{name: float(np.percentile(values, q)) for name, q in PERCENTILES.items()},
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std()),
    }


def _adjusted(values: Values, failed: int) -> dict[str, Any]:
    """Return percentiles by the nearest rank in which a failure is infinitely slow; infinite ones are left out."""
    values = np.concatenate((np.sort(values[np.isfinite(values)]), np.full(failed, np.inf)))
    found = {name: float(np.percentile(values, q, method="nearest")) for name, q in PERCENTILES.items()}
    finite = {name: value for name, value in {**found, "min": float(values[0])}.items() if np.isfinite(value)}
    return {"unit": "ms", **finite, "count": int(values.size)}
