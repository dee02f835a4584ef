"""The load generator `guidellm`: runs `guidellm run` and reads what it measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
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
    can: ClassVar[Mapping[str, tuple[Any, ...]]] = {**SCHEDULED, "ignore_eos": (True,), "stream": ANY, "sessions": ANY}

    def command(self, order: Order) -> list[str]:
        """Return the command line; everything is said in a scenario file, so that no path is parsed."""
        check_schedule(self, order, own=("poisson", "constant"))
        self.check_talks(order)
        self._check_turns(order)
        prompts = "".join(f"{json.dumps(row)}\n" for row in _rows(order))
        (order.folder / "prompts.jsonl").write_text(prompts, encoding="utf-8")
        scenario = order.folder / "scenario.json"
        scenario.write_text(json.dumps({"spec": _scenario(order)}, indent=1), encoding="utf-8")
        return [*order.interpreter.command, "run", "--config", str(scenario), "--disable-console-interactive"]

    def _check_turns(self, order: Order) -> None:
        """Refuse talks of different lengths, of which it would send empty turns, and pauses, which it has not."""
        sessions = order.job.workload.sessions
        if sessions is None:
            return
        if order.plan.due is not None:
            self.refuse("sessions", "talks that begin at a rate", "talks in a closed loop")
        numbers = {len(talk) for talk in order.talks()}
        if len(numbers) > 1:
            found = " or ".join(map(str, sorted(numbers)))
            self.refuse("sessions", f"talks of {found} turns", "talks of one number of turns, all of them whole")
        if sessions.think_time:
            self.refuse("sessions", f"think_time={sessions.think_time:g}", "think_time=0")

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


def _rows(order: Order) -> Iterator[dict[str, Any]]:
    """Give what each request says, with its time where there is a schedule; of a talk, all turns beside each other."""
    if order.job.workload.sessions is not None:
        for talk in order.talks():
            yield {f"prompt_{request.turn}": request.prompt for request in talk} | {
                f"output_tokens_count_{request.turn}": request.output_tokens for request in talk
            }
        return
    due = schedule(order)
    times = [None] * len(order.plan.requests) if due is None else (RUN_UP + due).tolist()
    for (text, tokens), at in zip(order.texts(), times, strict=True):
        timed = {} if at is None else {"relative_timestamp": at}
        yield {"prompt": text, "output_tokens_count": tokens, **timed}


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
