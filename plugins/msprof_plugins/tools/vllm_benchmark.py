"""The load generator `vllm_benchmark`: runs `vllm bench serve` and reads what it measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.tool_results import ToolResult, read_result
from msprof_plugins.tools.order import Order
from msprof_plugins.tools.tool import ANY, Tool
from msprof_plugins.vllm import VLLM
from pytest_msprof.workload import Workload

__all__ = ["VllmBenchmark"]


class VllmBenchmark(Tool):
    """Sends our requests through vLLM's own client, in vLLM's own interpreter.

    The warm-up is ours as well: the tool would warm up with a prompt that it measures later.
    """

    name: ClassVar[str] = "vllm_benchmark"
    engine: ClassVar[Engine] = VLLM
    can: ClassVar[Mapping[str, tuple[Any, ...]]] = {"arrival": ("poisson", "constant", "gamma"), "burstiness": ANY}

    def command(self, order: Order) -> list[str]:
        """Return the command line; the order of the prompts is kept, and nothing is added to them."""
        prompts = "".join(f"{json.dumps(row)}\n" for row in _rows(order))
        (order.folder / "prompts.jsonl").write_text(prompts, encoding="utf-8")
        flags = [
            "skip-chat-template",
            "disable-shuffle",
            "no-oversample",
            "save-result",
            "save-detailed",
            "disable-tqdm",
        ]
        if not _counts(order):
            flags.append("skip-tokenizer-init")
        given = [part for name, value in _options(order).items() for part in (f"--{name}", str(value))]
        return [*order.interpreter.command, "bench", "serve", *given, *(f"--{flag}" for flag in flags)]

    def environment(self, order: Order) -> Mapping[str, str]:
        """Return the key of the target, and no usage statistics."""
        key = order.job.target.api_key
        return {"VLLM_NO_USAGE_STATS": "1", **({"OPENAI_API_KEY": key} if key else {})}

    def read(self, order: Order) -> ToolResult:
        """Read the detailed result."""
        return read_result(order.folder / "result.json", "vllm")


def _counts(order: Order) -> bool:
    """Whether the tool counts prompts with the tokenizer; it can count texts only."""
    return order.job.target.tokenizer is not None and not order.has_messages


def _rows(order: Order) -> Iterator[dict[str, Any]]:
    """Give what each request says: a text, or in a chat of messages those."""
    if not order.has_messages:
        yield from ({"prompt": text, "output_tokens": tokens} for text, tokens in order.texts())
        return
    for request in order.plan.requests:
        yield {"prompt": order.body(request)["messages"], "output_tokens": request.output_tokens}


def _options(order: Order) -> dict[str, object]:
    workload, target = order.job.workload, order.job.target
    lengths = {request.output_tokens for request in order.plan.requests}
    # a length of its own for each request is read only where the tool has a tokenizer; else it asks for one token
    differ = ("max_tokens",) if len(lengths) > 1 and _counts(order) else ()
    extra = order.shared_body("model", "prompt", "messages", "stream", "stream_options", *differ)
    if order.is_chat and "max_tokens" in extra:
        extra["max_completion_tokens"] = extra["max_tokens"]  # the name the tool gives its own guess of the length
    options: dict[str, object] = {
        "backend": "openai-chat" if order.is_chat else "openai",
        "base-url": order.root_url,
        "endpoint": "/v1/chat/completions" if order.is_chat else "/v1/completions",
        "model": target.model,
        "dataset-name": "custom",
        "dataset-path": order.folder / "prompts.jsonl",
        "custom-output-len": -1,
        "num-prompts": len(order.plan.requests),
        "extra-body": json.dumps(extra),
        "seed": order.seed,
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "result-dir": order.folder,
        "result-filename": "result.json",
    }
    if workload.concurrency is not None:
        options["max-concurrency"] = workload.concurrency
    if workload.request_rate is not None:
        options |= {"request-rate": workload.request_rate, "burstiness": _burstiness(workload)}
    if _counts(order):
        options["tokenizer"] = target.tokenizer
    return options


def _burstiness(workload: Workload) -> float:
    """Return the shape of the gaps: endless is constant, 1 is Poisson."""
    return {"constant": math.inf, "poisson": 1.0}.get(workload.arrival, workload.burstiness)
