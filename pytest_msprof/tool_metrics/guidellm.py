"""Figures as guidellm 0.8 defines them (`schemas/base/request_stats.py`, `schemas/base/statistics.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_msprof.tool_metrics.answers import Answers, Values

__all__ = ["guidellm"]

MILLI = 1000.0
PERCENTILES = {
    "p001": 0.001,
    "p01": 0.01,
    "p05": 0.05,
    "p10": 0.1,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
}


def guidellm(answers: Answers, duration: float) -> dict[str, Any]:
    """Return `metrics.<name>.successful` of its file, of rates the mean alone.

    A request lasts until its stream is closed. The time of an output token has the TTFT inside; it
    and the latency between tokens are one mean a request, which counts as often as it has tokens.
    """
    tokens = answers.output_tokens
    more = tokens > 1
    rates = {
        "requests_per_second": float(tokens.size),
        "prompt_tokens_per_second": float(np.nansum(answers.input_tokens)),
        "output_tokens_per_second": float(np.nansum(tokens)),
        "tokens_per_second": float(np.nansum(answers.input_tokens) + np.nansum(tokens)),
    }
    found = {
        "request_latency": _summary(answers.closed, np.ones_like(tokens)),
        "time_to_first_token_ms": _summary(answers.ttft * MILLI, np.ones_like(tokens)),
        "time_per_output_token_ms": _summary(
            answers.latency[tokens > 0] * MILLI / tokens[tokens > 0], tokens[tokens > 0]
        ),
        "inter_token_latency_ms": _summary(answers.after_first()[more] * MILLI, tokens[more] - 1),
        "prompt_token_count": _summary(answers.input_tokens, np.ones_like(tokens)),
        "output_token_count": _summary(tokens, np.ones_like(tokens)),
        **{name: {"mean": total / duration} for name, total in rates.items()},
    }
    return {name: summary for name, summary in found.items() if summary}


def _summary(values: Values, weights: Values) -> dict[str, Any]:
    """Return statistics of weighted values; a percentile is the smallest value whose share reaches it."""
    finite = np.isfinite(values)
    values, weights = values[finite], weights[finite]
    if not values.size:
        return {}
    values, where = np.unique(values, return_inverse=True)
    shares = np.bincount(where, weights) / weights.sum()
    mean = float((values * shares).sum())
    reached = np.minimum(np.searchsorted(np.cumsum(shares), list(PERCENTILES.values())), values.size - 1)
    percentiles = dict(zip(PERCENTILES, values[reached].tolist(), strict=True))
    return {
        "mean": mean,
        "median": percentiles["p50"],
        "std_dev": float(np.sqrt(((values - mean) ** 2 * shares).sum())),
        "min": float(values[0]),
        "max": float(values[-1]),
        "count": round(float(weights.sum())),
        "percentiles": percentiles,
    }
