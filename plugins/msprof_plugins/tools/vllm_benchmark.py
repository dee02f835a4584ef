"""The load generator `vllm_benchmark`: runs `vllm bench serve` and reads what it measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.tool_results import ToolResult, read_result
from msprof_plugins.tools.tool import Order, Tool
from msprof_plugins.vllm import VLLM

__all__ = ["VllmBenchmark"]


class VllmBenchmark(Tool):
    """Sends our requests through vLLM's own client, in vLLM's own interpreter.

    The warm-up is ours as well: the tool would warm up with a prompt that it measures later.
    """

    name: ClassVar[str] = "vllm_benchmark"
    engine: ClassVar[Engine] = VLLM

    def command(self, order: Order) -> list[str]:
        """Return the command line; the order of the prompts is kept, and nothing is added to them."""
        prompts = "".join(f"{json.dumps({'prompt': request.prompt})}\n" for request in order.plan.requests)
        (order.folder / "prompts.jsonl").write_text(prompts, encoding="utf-8")
        flags = [
            "skip-chat-template",
            "disable-shuffle",
            "no-oversample",
            "save-result",
            "save-detailed",
            "disable-tqdm",
        ]
        if order.job.target.tokenizer is None:
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


def _options(order: Order) -> dict[str, object]:
    workload, target = order.job.workload, order.job.target
    body = order.body(order.plan.requests[0])
    ours = ("model", "prompt", "messages", "stream", "stream_options")
    options: dict[str, object] = {
        "backend": "openai-chat" if order.is_chat else "openai",
        "base-url": order.root_url,
        "endpoint": "/v1/chat/completions" if order.is_chat else "/v1/completions",
        "model": target.model,
        "dataset-name": "custom",
        "dataset-path": order.folder / "prompts.jsonl",
        "custom-output-len": order.output_tokens(),
        "num-prompts": len(order.plan.requests),
        "extra-body": json.dumps({name: value for name, value in body.items() if name not in ours}),
        "seed": order.seed,
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "result-dir": order.folder,
        "result-filename": "result.json",
    }
    if workload.concurrency is not None:
        options["max-concurrency"] = workload.concurrency
    if workload.request_rate is not None:
        options |= {"request-rate": workload.request_rate, "burstiness": 1.0}
    if target.tokenizer is not None:
        options["tokenizer"] = target.tokenizer
    return options
