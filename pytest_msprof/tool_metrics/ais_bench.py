"""Figures as ais_bench 3.1 defines them (`summarizers/default_perf.py`, `calculators`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_msprof.tool_metrics.answers import Answers, Values

__all__ = ["ais_bench"]

MILLI = 1000.0
DIGITS = 4
"""It rounds everything to so many digits: of times in seconds, before they become milliseconds."""
PERCENTILES = {"Median": 50, "P75": 75, "P90": 90, "P95": 95, "P99": 99}


def ais_bench(answers: Answers, duration: float) -> dict[str, Any]:
    """Return the rows of its table, and its totals as numbers; *duration* is that of the successful requests.

    Its clock starts before the connection and runs until the last event, which is the usage: the gap
    before that one counts as well. The time of a token is 0 for one-token answers. A chat's TTFT ends
    at the role event, of which our samples know nothing.
    """
    latency = answers.closed + answers.connect
    tpot = (answers.closed - answers.ttft) / np.maximum(answers.output_tokens - 1, 1)
    tokens_in, tokens_out = (float(np.nansum(counts)) for counts in (answers.input_tokens, answers.output_tokens))
    ttft = answers.ttft + answers.connect
    times = {
        "E2EL": latency,
        "TTFT": ttft,
        "TPOT": np.where(answers.output_tokens > 1, tpot, 0.0),
        "ITL": _gaps(answers),
    }
    totals = {
        "Benchmark Duration": duration * MILLI,
        "Total Requests": answers.ttft.size + answers.failed,
        "Failed Requests": answers.failed,
        "Success Requests": answers.ttft.size,
        "Concurrency": float(latency.sum()) / duration,
        "Request Throughput": answers.ttft.size / duration,
        "Total Input Tokens": tokens_in,
        "Prefill Token Throughput": tokens_in / float(ttft.sum()) if ttft.size else 0.0,
        "Total Generated Tokens": tokens_out,
        "Input Token Throughput": tokens_in / duration,
        "Output Token Throughput": tokens_out / duration,
        "Total Token Throughput": (tokens_in + tokens_out) / duration,
    }
    rows = {name: _row(values, MILLI, answers.ttft.size) for name, values in times.items()}
    rows |= {
        "InputTokens": _row(answers.input_tokens, 1.0, answers.ttft.size),
        "OutputTokens": _row(answers.output_tokens, 1.0, answers.ttft.size),
        "OutputTokenThroughput": _row(answers.output_tokens / latency, 1.0, answers.ttft.size),
    }
    rounded = {name: round(value, DIGITS) for name, value in totals.items()}
    return {**rounded, **{name: row for name, row in rows.items() if row}}


def _gaps(answers: Answers) -> Values:
    """Return all gaps, with the one between the last event with content and the usage event."""
    usage = answers.closed - answers.latency
    return np.concatenate((answers.gaps, usage[usage > 0]))


def _row(values: Values, unit: float, requests: int) -> dict[str, float]:
    """Return the statistics of one row; its N is that of requests, of the gaps as well."""
    if not values.size or not values.any():
        return {}
    found = {"Average": float(values.mean()), "Min": float(values.min()), "Max": float(values.max())}
    found |= {name: float(np.percentile(values, q)) for name, q in PERCENTILES.items()}
    return {**{name: round(round(value, DIGITS) * unit, DIGITS) for name, value in found.items()}, "N": requests}
