"""The load generator `aiperf`: runs `aiperf profile` and reads what it measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.tool_results import ToolResult, read_result
from msprof_plugins.tools.order import Order
from msprof_plugins.tools.schedule import SCHEDULED, check_schedule, with_due
from msprof_plugins.tools.tool import ANY, Tool
from pytest_msprof.requests import Request

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
        if (
            order.job.workload.sessions is not None
            and order.plan.due is not None
            and order.plan.concurrency is not None
        ):
            self.refuse("concurrency", order.plan.concurrency, None)
        (order.folder / REQUESTS).write_text(_requests(order), encoding="utf-8")
        configuration = order.folder / "aiperf.yaml"
        configuration.write_text(json.dumps(_configuration(order), indent=1), encoding="utf-8")
        return [*order.interpreter.command, "profile", "--config", str(configuration)]

    def environment(self, order: Order) -> Mapping[str, str]:
        """Return the key of the target; offline, the tool takes the folder of a tokenizer for a name on the hub."""
        return {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "", KEY: order.job.target.api_key or ""}

    def read(self, order: Order) -> ToolResult:
        """Read the artifact directory; it keeps when a request was handed out, not when it was due."""
        result = read_result(order.folder / "artifacts", "aiperf")
        return result if order.job.workload.sessions is not None else with_due(result, order.plan.due)


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
    if order.plan.due is not None:
        return "mooncake_trace"
    return "inputs_json" if order.job.workload.sessions is None else "multi_turn"


def _requests(order: Order) -> str:
    """Return the file of whole bodies, with times where there is a schedule; of talks what each turn adds."""
    if order.job.workload.sessions is not None:
        rows = _talks(order) if order.plan.due is None else _timed_turns(order, order.plan.due.tolist())
        return "".join(f"{json.dumps(row)}\n" for row in rows)
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
            {"text": request.prompt, "delay": request.think_time * 1000, "extra": _options(order, request)}
            for request in requests
        ]
        yield {"session_id": str(number), "turns": turns}


def _timed_turns(order: Order, due: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Give turns: the first of a talk has its time, a later one its delay after the answer before."""
    for request, at in zip(order.plan.requests, due, strict=True):
        time = {"delay": request.think_time * 1000} if request.turn else {"timestamp": at * 1000}
        said = {"text_input": request.prompt, "output_length": request.output_tokens}
        yield {"session_id": str(request.session), **said, **time, "extra": _options(order, request)}


def _options(order: Order, request: Request) -> dict[str, Any]:
    """Return what a body has beside what is said."""
    return {name: value for name, value in order.body(request).items() if name not in BUILT}


def _end(order: Order) -> dict[str, int]:
    """Say when all was sent: with a number of requests the tool would begin the first talk again as a slot is free."""
    if order.job.workload.sessions is None or order.plan.due is not None:
        return {"requests": len(order.plan.requests)}
    return {"sessions": len(order.talks())}


def _phase(order: Order) -> dict[str, Any]:
    concurrency = order.job.workload.concurrency
    cap = {"concurrency": concurrency} if concurrency else {}
    if order.plan.due is None:
        return {"type": "concurrency", **cap}
    return {"type": "fixed_schedule", "autoOffset": True, **cap}
