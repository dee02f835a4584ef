"""The load generator `aiperf`: runs `aiperf profile` and reads what it measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.tool_results import ToolResult, read_result
from msprof_plugins.tools.order import Order
from msprof_plugins.tools.schedule import SCHEDULED, check_schedule
from msprof_plugins.tools.tool import ANY, Tool

__all__ = ["Aiperf"]

REQUESTS = "requests.json"
BUILT = ("messages", "stream", "stream_options")
"""Fields of a body that the tool makes itself where it carries a talk on."""
KEY = "MSPROF_AIPERF_KEY"
"""The variable that the configuration names; the key itself is in no file."""


class Aiperf(Tool):
    """Sends our requests through aiperf, body by body as the built-in generator would send them.

    Open loops are replayed as a schedule: every request is due when it would be for the built-in one.
    """

    name: ClassVar[str] = "aiperf"
    engine: ClassVar[Engine] = Engine(
        name="aiperf",
        program="aiperf",
        module="aiperf",
        install="python -m msprof_plugins.install_engine aiperf",
    )
    can: ClassVar[Mapping[str, tuple[Any, ...]]] = {**SCHEDULED, "models": ANY, "stream": ANY, "sessions": ANY}

    def command(self, order: Order) -> list[str]:
        """Return the command line; everything is said in a configuration file."""
        check_schedule(self, order, own=None)
        self.check_talks(order)
        (order.folder / REQUESTS).write_text(_requests(order), encoding="utf-8")
        configuration = order.folder / "aiperf.yaml"
        configuration.write_text(json.dumps(_configuration(order), indent=1), encoding="utf-8")
        return [*order.interpreter.command, "profile", "--config", str(configuration)]

    def environment(self, order: Order) -> Mapping[str, str]:
        """Return the key of the target; offline, the tool takes the folder of a tokenizer for a name on the hub."""
        return {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "", KEY: order.job.target.api_key or ""}

    def read(self, order: Order) -> ToolResult:
        """Read the artifact directory."""
        return read_result(order.folder / "artifacts", "aiperf")


def _configuration(order: Order) -> dict[str, Any]:
    workload, target = order.job.workload, order.job.target
    return {
        "schemaVersion": "2.0",
        "randomSeed": order.seed,
        "benchmark": {
            "model": target.model,
            "endpoint": {
                "url": order.root_url,
                "type": workload.endpoint,
                "streaming": workload.stream,
                "timeout": workload.timeout,
                "useServerTokenCount": True,
                **({"apiKey": f"${{{KEY}}}"} if target.api_key else {}),
            },
            "dataset": {
                "type": "file",
                "path": str(order.folder / REQUESTS),
                "format": _format(order),
                "sampling": "sequential",
            },
            "tokenizer": {"name": str(order.tokenizer)},
            "phases": [{"name": "profiling", **_end(order), **_phase(order)}],
            "artifacts": {"dir": str(order.folder / "artifacts"), "summary": ["json"], "records": ["jsonl"]},
            "gpuTelemetry": {"enabled": False},
            "serverMetrics": {"enabled": False},
            "runtime": {"ui": "none"},
        },
    }


def _format(order: Order) -> str:
    if order.job.workload.sessions is not None:
        return "multi_turn"
    return "inputs_json" if order.plan.due is None else "mooncake_trace"


def _requests(order: Order) -> str:
    """Return the file of whole bodies, with times where there is a schedule; of talks what each turn adds."""
    if order.job.workload.sessions is not None:
        return "".join(f"{json.dumps(talk)}\n" for talk in _talks(order))
    bodies = map(order.body, order.plan.requests)
    if order.plan.due is None:
        sessions = [{"session_id": str(number), "payloads": [body]} for number, body in enumerate(bodies)]
        return json.dumps({"data": sessions})
    rows = (
        {"timestamp": due * 1000, "payload": body} for due, body in zip(order.plan.due.tolist(), bodies, strict=True)
    )
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _talks(order: Order) -> Iterator[dict[str, Any]]:
    """Give talks: the tool puts the turns before, and the answers that came, in front of each turn."""
    for number, requests in enumerate(order.talks()):
        turns = [
            {
                "text": request.prompt,
                "delay": request.think_time * 1000,
                "extra": {name: value for name, value in order.body(request).items() if name not in BUILT},
            }
            for request in requests
        ]
        yield {"session_id": str(number), "turns": turns}


def _end(order: Order) -> dict[str, int]:
    """Say when all was sent: with a number of requests the tool would begin the first talk again as a slot is free."""
    if order.job.workload.sessions is None:
        return {"requests": len(order.plan.requests)}
    return {"sessions": len(order.talks())}


def _phase(order: Order) -> dict[str, Any]:
    concurrency = order.job.workload.concurrency
    cap = {"concurrency": concurrency} if concurrency else {}
    if order.plan.due is None:
        return {"type": "concurrency", **cap}
    return {"type": "fixed_schedule", "autoOffset": True, **cap}
