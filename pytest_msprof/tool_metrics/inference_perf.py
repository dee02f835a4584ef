"""Figures as inference-perf 0.7 defines them (`reportgen/base.py`), tokens counted by the server."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_msprof.tool_metrics.answers import Answers, Values

__all__ = ["inference_perf"]

PERCENTILES = (0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)


def inference_perf(answers: Answers, duration: float) -> dict[str, Any]:
    """Return what its report says of successes and failures, in seconds.

    Its clock starts before the connection, and a request lasts until the answer was read. An answer
    of one token has neither a time to its first token nor one between them. Tokens that came in one
    event have gaps of zero; *duration* is from the first start to the last end of all requests.
    """
    completed, tokens = answers.ttft.size, answers.output_tokens
    whole = answers.closed + answers.connect
    several = tokens > 1
    together = np.maximum(tokens - 1 - answers.gap_counts, 0)[several]
    counted = {"input": float(np.nansum(answers.input_tokens)), "output": float(np.nansum(tokens))}
    with np.errstate(divide="ignore", invalid="ignore"):
        normalized = np.where(tokens > 0, whole / tokens, 0.0)
    times = {
        "request_latency": whole,
        "normalized_time_per_output_token": normalized,
        "time_per_output_token": answers.after_first(),
        "time_to_first_token": (answers.ttft + answers.connect)[several],
        "inter_token_latency": np.concatenate((answers.gaps, np.zeros(int(np.nansum(together))))),
    }
    return {
        "benchmark_time_seconds": duration,
        "successes": {
            "count": completed,
            "latency": {name: found for name, values in times.items() if (found := _statistics(values))},
            "throughput": {
                **{f"{name}_tokens_per_sec": total / duration for name, total in counted.items()},
                "total_tokens_per_sec": sum(counted.values()) / duration,
                "requests_per_sec": completed / duration,
            },
        },
        "failures": {"count": answers.failed},
    }


def _statistics(values: Values) -> dict[str, float]:
    """Return mean, extremes and percentiles by linear interpolation."""
    values = values[np.isfinite(values)]
    if not values.size:
        return {}
    found = {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
    return found | {("median" if q == 50 else f"p{q:g}"): float(np.percentile(values, q)) for q in PERCENTILES}  # noqa: PLR2004 - the median
