"""Reading the lines that matter out of Prometheus' text format.

An engine exposes some hundred kilobytes, most of it buckets of histograms. One regular expression
over the names that are wanted takes a tenth of the time of reading it all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

__all__ = ["QUANTITIES", "Quantity", "quantities"]


class Quantity(NamedTuple):
    """One of our words, and who says it how."""

    name: str
    spellings: tuple[str, ...]
    """Names of vLLM, SGLang, TGI, Triton and our runner, with the one label that tells; an older after a newer one."""
    rises: bool = False
    """Whether it is a counter."""
    combine: Callable[[Iterable[float]], float] = sum
    """How the values of several models, engines or ranks become one."""


QUANTITIES = (
    Quantity(
        "running",
        (
            "vllm:num_requests_running",
            "sglang:num_running_reqs",
            "tgi_batch_current_size",
            'nv_trt_llm_request_metrics{request_type="scheduled"}',
            "runner_requests_running",
        ),
    ),
    Quantity(
        "waiting",
        (
            "vllm:num_requests_waiting",
            "sglang:num_queue_reqs",
            "tgi_queue_size",
            'nv_trt_llm_request_metrics{request_type="waiting"}',
            "nv_inference_pending_request_count",
            "runner_requests_waiting",
        ),
    ),
    Quantity(
        "kv_usage",
        (
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc",
            "sglang:token_usage",
            'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',
        ),
        combine=max,
    ),
    Quantity("preemptions", ("vllm:num_preemptions_total", "sglang:num_retracted_requests_total"), rises=True),
    Quantity(
        "prefix_hits",
        ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total", "sglang:cached_tokens_total"),
        rises=True,
    ),
    Quantity("prefix_queries", ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"), rises=True),
    Quantity("prefix_hit_rate", ("sglang:cache_hit_rate",), combine=max),
    Quantity(
        "input_tokens",
        (
            "vllm:prompt_tokens_total",
            "sglang:prompt_tokens_total",
            "tgi_request_input_length_sum",
            "runner_prompt_tokens_total",
        ),
        rises=True,
    ),
    Quantity(
        "output_tokens",
        (
            "vllm:generation_tokens_total",
            "sglang:generation_tokens_total",
            "tgi_request_generated_tokens_sum",
            "runner_generation_tokens_total",
        ),
        rises=True,
    ),
    Quantity(
        "requests",
        (
            "vllm:request_success_total",
            "sglang:num_requests_total",
            "tgi_request_success",
            "tgi_request_success_total",
            "nv_inference_request_success",
            "runner_requests_total",
        ),
        rises=True,
    ),
)

_NAMES = sorted({spelling.partition("{")[0] for quantity in QUANTITIES for spelling in quantity.spellings})
_LABELS = re.compile(r"\{(\w+=\"\w+\")\}")
_LABELLED = {
    (spelling.partition("{")[0], found[1])
    for quantity in QUANTITIES
    for spelling in quantity.spellings
    if (found := _LABELS.search(spelling))
}
"""Names that say different things by a label, and each label that is wanted."""
_LINE = re.compile(
    rf"^({'|'.join(map(re.escape, _NAMES))})"
    r"(\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?[ \t]+([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?=\s|$)",
    re.MULTILINE,
)


def quantities(text: str) -> Mapping[str, float]:
    """Return the quantities that *text* has, by our names; of two spellings the first one counts, and NaN is none."""
    found: dict[str, list[float]] = {}
    for line in _LINE.finditer(text):
        found.setdefault(_spelling(line[1], line[2] or ""), []).append(float(line[3]))
    return {
        quantity.name: float(quantity.combine(found[spelling]))
        for quantity in QUANTITIES
        if (spelling := next((name for name in quantity.spellings if name in found), ""))
    }


def _spelling(name: str, labels: str) -> str:
    """Return the name as `QUANTITIES` spells it: with its label where that tells what is meant."""
    wanted = (label for known, label in _LABELLED if known == name and label in labels)
    return next((f"{name}{{{label}}}" for label in wanted), name)
