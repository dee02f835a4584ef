"""The load generator `guidellm`: runs `guidellm run` and reads what it measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.tool_results import ToolResult, read_result
from msprof_plugins.tools.order import Order
from msprof_plugins.tools.schedule import SCHEDULED, check_schedule, schedule
from msprof_plugins.tools.tool import ANY, Tool

__all__ = ["Guidellm"]

RUN_UP = 0.5
"""Seconds before the first request of a schedule: the workers are late by a tenth when they begin."""
FORMATS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}
FORCED = ("model", "prompt", "messages", "stream", "stream_options", "max_tokens", "ignore_eos")
"""Fields of a body that the tool sets itself."""


class Guidellm(Tool):
    """Sends our requests through guidellm; it forces the length of every answer by `ignore_eos`.

    The tool opens a connection a request and sends the requests of a run in an order of its own.
    """

    name: ClassVar[str] = "guidellm"
    engine: ClassVar[Engine] = Engine(
        name="guidellm",
        program="guidellm",
        module="guidellm",
        install="python -m msprof_plugins.install_engine guidellm",
    )
    can: ClassVar[Mapping[str, tuple[Any, ...]]] = {**SCHEDULED, "ignore_eos": (True,), "stream": ANY}

    def command(self, order: Order) -> list[str]:
        """Return the command line; everything is said in a scenario file, so that no path is parsed."""
        check_schedule(self, order, own=("poisson", "constant"))
        rows: list[dict[str, Any]] = [{"prompt": text, "output_tokens_count": tokens} for text, tokens in order.texts()]
        if (due := schedule(order)) is not None:
            times = (RUN_UP + due).tolist()
            rows = [{**row, "relative_timestamp": at} for row, at in zip(rows, times, strict=True)]
        prompts = "".join(f"{json.dumps(row)}\n" for row in rows)
        (order.folder / "prompts.jsonl").write_text(prompts, encoding="utf-8")
        scenario = order.folder / "scenario.json"
        scenario.write_text(json.dumps({"spec": _scenario(order)}, indent=1), encoding="utf-8")
        return [*order.interpreter.command, "run", "--config", str(scenario), "--disable-console-interactive"]

    def environment(self, order: Order) -> Mapping[str, str]:
        """Return the key of the target, a place for what its dataset library keeps, and patience.

        Its scheduler ends when it waited so long in vain, and then loses a request whose end is on the way.
        """
        key = order.job.target.api_key
        return {
            "HF_DATASETS_CACHE": str(order.folder / "cache"),
            "GUIDELLM__MP_POLL_INTERVAL": "1.0",
            **({"GUIDELLM__SPEC__BACKEND__API_KEY": key} if key else {}),
        }

    def read(self, order: Order) -> ToolResult:
        """Read the only benchmark of the run, and drop what its dataset library kept."""
        shutil.rmtree(order.folder / "cache", ignore_errors=True)
        return read_result(order.folder / "benchmarks.json", "guidellm")


def _scenario(order: Order) -> dict[str, Any]:
    workload, target = order.job.workload, order.job.target
    return {
        "backend": {
            "kind": "openai_http",
            "target": order.root_url,
            "model": target.model,
            "request_format": FORMATS[workload.endpoint],
            "stream": workload.stream,
            "timeout": workload.timeout,
            "http2": False,
            "follow_redirects": False,
            "verify": True,
            "extras": {"body": order.shared_body(*FORCED)},
        },
        "profile": _profile(order),
        "constraints": [{"kind": "max_requests", "count": len(order.plan.requests)}],
        "data": [{"kind": "json_file", "path": str(order.folder / "prompts.jsonl")}],
        "tokenizer": {"kind": "huggingface_auto", "model": str(order.tokenizer)},
        "seed": {"kind": "static", "value": order.seed},
        "outputs": [{"kind": "json", "path": str(order.folder / "benchmarks.json")}],
    }


def _profile(order: Order) -> dict[str, Any]:
    workload = order.job.workload
    if schedule(order) is not None:
        return {"kind": "replay", "schedule_turn": "timestamp"}
    if workload.request_rate is None:
        return {"kind": "concurrent", "streams": [workload.concurrency]}
    return {"kind": workload.arrival, "rate": [workload.request_rate], "max_concurrency": workload.concurrency}
