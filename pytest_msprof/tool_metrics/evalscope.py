"""Figures as `evalscope perf` 1.14 defines them (`perf/utils/benchmark_util.py`, `perf/utils/db_util.py`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pytest_msprof.tool_metrics.answers import Answers, Values

__all__ = ["evalscope"]

MILLI = 1000.0
DIGITS, DIGITS_OF_MILLISECONDS = 4, 2
"""Its summary has averages in milliseconds with fewer digits than everything else."""
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def evalscope(answers: Answers, duration: float) -> dict[str, Any]:
    """Return its summary, and under `percentiles` the rows of its table by their names.

    Its clock starts before the connection, a request lasts until its usage event, and so does the
    time of its tokens, which is over all of them but one; *duration* is from the first start to the
    last end of all requests.
    """
    completed, tokens_in, tokens_out = answers.ttft.size, answers.input_tokens, answers.output_tokens
    ttft, latency = answers.ttft + answers.connect, answers.closed + answers.connect
    tpot = answers._replace(latency=answers.closed).after_first()
    tpot[tpot <= 0] = np.nan
    total = tokens_in + tokens_out
    milliseconds = {"TTFT": ttft * MILLI, "TPOT": tpot * MILLI, "ITL": answers.gaps * MILLI}
    averages = {
        "Avg Latency (s)": (latency, DIGITS),
        "Avg Input Tokens": (tokens_in, DIGITS),
        "Avg Output Tokens": (tokens_out, DIGITS),
        **{f"Avg {name} (ms)": (values, DIGITS_OF_MILLISECONDS) for name, values in milliseconds.items()},
    }
    columns = {
        "Latency (s)": latency,
        **{f"{name} (ms)": values for name, values in milliseconds.items()},
        "Input tokens": tokens_in,
        "Output tokens": tokens_out,
        "Output (tok/s)": tokens_out / latency,
        "Total (tok/s)": total / latency,
        "Decode (tok/s)": 1 / tpot,
    }
    return {
        "Test Duration (s)": round(duration, DIGITS),
        "Total Requests": completed + answers.failed,
        "Success Requests": completed,
        "Failed Requests": answers.failed,
        "Req Throughput (req/s)": round(completed / duration, DIGITS),
        "Output Throughput (tok/s)": round(float(np.nansum(tokens_out)) / duration, DIGITS),
        "Total Throughput (tok/s)": round(float(np.nansum(total)) / duration, DIGITS),
        **{
            name: round(float(np.nanmean(values)), digits)
            for name, (values, digits) in averages.items()
            if _any(values)
        },
        "percentiles": _percentiles({name: values for name, values in columns.items() if _any(values)}),
    }


def _any(values: Values) -> bool:
    return bool(np.isfinite(values).any())


def _percentiles(columns: dict[str, Values]) -> dict[str, dict[str, float]]:
    """Return the rows of the table by nearest rank: the value that so many percent do not exceed."""
    ordered = {name: np.sort(values[np.isfinite(values)]) for name, values in columns.items()}
    shares = {"min": 0, **{f"{q}%": q for q in PERCENTILES}, "max": 100}
    return {
        row: {
            name: round(float(values[max(0, math.ceil(values.size * q / 100) - 1)]), DIGITS)
            for name, values in ordered.items()
        }
        for row, q in shares.items()
        if ordered
    }
