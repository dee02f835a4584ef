"""Figures as `vllm bench serve` defines them (vLLM 0.32, `benchmarks/serve.py`), and sglang's variation."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_msprof.tool_metrics.answers import Answers, Values, percentile_names

__all__ = ["sglang", "vllm"]

PERCENTILES = percentile_names(50, 90, 95, 99)
MILLI = 1000.0


def vllm(answers: Answers, duration: float) -> dict[str, Any]:
    """Return the keys of its result file.

    Its clock starts before the connection; the time of a token is over all tokens but one; rates
    are over the whole run, failures included. A stream's role event ends its TTFT: our samples keep
    none, so for chats of a server that sends one, its TTFT is lower and it has one gap more.
    """
    return {
        **_rates(answers, duration),
        "max_output_tokens_per_s": _busiest_second(answers),
        "max_concurrent_requests": _most_in_a_second(answers),
        **_statistics("ttft", answers.ttft + answers.connect),
        **_statistics("tpot", answers.after_first()),
        **_statistics("itl", answers.gaps),
        **_statistics("e2el", answers.latency + answers.connect),
    }


def sglang(answers: Answers, duration: float) -> dict[str, Any]:
    """Return the keys of its result line: those of vLLM, but a request lasts until the stream is closed.

    So does the time of its tokens, over all of them but one. (sglang 0.5.23, `benchmark/serving.py`)
    """
    latency = answers.closed + answers.connect
    decode = answers._replace(latency=answers.closed)
    rates = _rates(answers, duration)
    found = {
        **{name: rates[name] for name in rates if name != "failed"},
        "concurrency": float(latency.sum()) / duration,
        **_statistics("ttft", answers.ttft + answers.connect),
        **_statistics("tpot", decode.after_first()),
        **_statistics("itl", answers.gaps),
        **_statistics("e2e_latency", latency),
    }
    found["total_throughput"] = found.pop("total_token_throughput")
    return {name: value for name, value in found.items() if not name.startswith("p50_")}


def _rates(answers: Answers, duration: float) -> dict[str, Any]:
    completed = answers.ttft.size
    tokens_in, tokens_out = (float(np.nansum(counts)) for counts in (answers.input_tokens, answers.output_tokens))
    return {
        "duration": duration,
        "completed": completed,
        "failed": answers.failed,
        "total_input_tokens": int(tokens_in),
        "total_output_tokens": int(tokens_out),
        "request_throughput": completed / duration,
        "output_throughput": tokens_out / duration,
        "total_token_throughput": (tokens_in + tokens_out) / duration,
    }


def _statistics(name: str, values: Values) -> dict[str, float]:
    """Return mean, median, deviation and percentiles by linear interpolation, in ms."""
    values = values[np.isfinite(values)] * MILLI
    if not values.size:
        return {}
    found = {
        f"mean_{name}_ms": float(values.mean()),
        f"median_{name}_ms": float(np.median(values)),
        f"std_{name}_ms": float(values.std()),
    }
    return found | {f"{key}_{name}_ms": float(np.percentile(values, q)) for key, q in PERCENTILES.items()}


def _busiest_second(answers: Answers) -> float:
    """Return the most events with content in one second; seconds count from the first start."""
    if not answers.start.size:
        return 0.0
    offsets = np.concatenate(([0], np.cumsum(answers.gap_counts)))
    first = answers.start + answers.ttft - (answers.start - answers.connect).min()
    sums = np.concatenate(([0.0], np.cumsum(answers.gaps)))
    later = np.repeat(first, answers.gap_counts) + sums[1:] - np.repeat(sums[offsets[:-1]], answers.gap_counts)
    return float(np.bincount(np.concatenate((first, later)).astype(np.int64)).max())


def _most_in_a_second(answers: Answers) -> int:
    """Return the most requests that touch one second, which is more than were ever in flight."""
    if not answers.start.size:
        return 0
    begin = answers.start - answers.connect
    seconds = [(moments - begin.min()).astype(np.int64) for moments in (begin, answers.start + answers.latency)]
    changes = np.zeros(int(seconds[1].max()) + 2, dtype=np.int64)
    np.add.at(changes, seconds[0], 1)
    np.add.at(changes, seconds[1] + 1, -1)
    return int(changes.cumsum().max())
