"""The load generator `ais_bench`: runs `ais_bench --mode perf` and reads what it measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.tool_results import ToolResult, read_result
from msprof_plugins.tools.order import Order
from msprof_plugins.tools.schedule import SCHEDULED, check_schedule, schedule, with_due
from msprof_plugins.tools.tool import ANY, Tool

__all__ = ["AisBench"]

KEY = "MSPROF_AIS_BENCH_KEY"
FORCED = ("model", "prompt", "messages", "stream", "stream_options", "max_tokens")
"""Fields of a body that the tool sets itself."""

MODEL = f'''
import os

from ais_bench.benchmark.models import VLLMCustomAPI, VLLMCustomAPIChat


def with_key(cls):
    """Return the model whose key comes from the environment: the tool writes its configuration to a file."""

    def __init__(self, *args, **options):
        super(keyed, self).__init__(*args, **options)
        if key := os.environ.get("{KEY}"):
            self.headers["Authorization"] = f"Bearer {{key}}"

    keyed = type("Keyed" + cls.__name__, (cls,), {{"__init__": __init__, "__module__": __name__}})
    return keyed


KeyedVLLMCustomAPI, KeyedVLLMCustomAPIChat = with_key(VLLMCustomAPI), with_key(VLLMCustomAPIChat)
'''
"""A module beside the configuration."""

CONFIGURATION = """
from ais_bench.benchmark.calculators import DefaultPerfMetricCalculator
from ais_bench.benchmark.datasets import CustomDataset
from ais_bench.benchmark.openicl.icl_inferencer import GenInferencer
from ais_bench.benchmark.openicl.icl_prompt_template import PromptTemplate
from ais_bench.benchmark.openicl.icl_retriever import ZeroRetriever
from ais_bench.benchmark.summarizers import DefaultPerfSummarizer
from msprof_ais_bench_model import {model}

models = [dict(type={model}, **{options!r})]
datasets = [
    dict(
        abbr="requests",
        type=CustomDataset,
        path={prompts!r},
        reader_cfg=dict(input_columns={columns!r}, output_column="answer"),
        infer_cfg=dict(
            prompt_template=dict(type=PromptTemplate, template="{{question}}"),
            retriever=dict(type=ZeroRetriever),
            inferencer=dict(type=GenInferencer),
        ),
        eval_cfg=dict(),
    )
]
summarizer = dict(
    attr="performance",
    type=DefaultPerfSummarizer,
    calculator=dict(
        type=DefaultPerfMetricCalculator, stats_list=["Average", "Min", "Max", "Median", "P75", "P90", "P95", "P99"]
    ),
)
"""


class AisBench(Tool):
    """Sends our requests through AISBench, the tool of the Ascend world, with one attempt a request."""

    name: ClassVar[str] = "ais_bench"
    engine: ClassVar[Engine] = Engine(
        name="ais_bench",
        program="ais_bench",
        module="ais_bench.benchmark.cli.main",
        install="python -m msprof_plugins.install_engine ais_bench",
    )
    can: ClassVar[Mapping[str, tuple[Any, ...]]] = {**SCHEDULED, "stream": ANY}

    def command(self, order: Order) -> list[str]:
        """Return the command line, and write the configuration, which is Python."""
        check_schedule(self, order, own=("poisson", "constant", "gamma"))
        rows: list[dict[str, Any]] = [
            {"question": text, "answer": "", "max_tokens": tokens} for text, tokens in order.texts()
        ]
        if (due := schedule(order)) is not None:
            rows = [{**row, "timestamp": at * 1000} for row, at in zip(rows, due.tolist(), strict=True)]
        prompts = order.folder / "prompts.jsonl"
        prompts.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        model = "KeyedVLLMCustomAPIChat" if order.is_chat else "KeyedVLLMCustomAPI"
        configuration = order.folder / "configuration.py"
        (order.folder / "msprof_ais_bench_model.py").write_text(MODEL, encoding="utf-8")
        columns = ["question", "max_out_len", *(() if due is None else ("timestamp",))]
        configuration.write_text(
            CONFIGURATION.format(model=model, options=_options(order), prompts=str(prompts), columns=columns),
            encoding="utf-8",
        )
        work = str(order.folder / "work")
        return [*order.interpreter.command, str(configuration), "--mode", "perf", "--num-warmups", "0", "-w", work]

    def environment(self, order: Order) -> Mapping[str, str]:
        """Return the key of the target, and where the module beside the configuration lies."""
        return {"PYTHONPATH": str(order.folder), "PYTHONSAFEPATH": "", KEY: order.job.target.api_key or ""}

    def read(self, order: Order) -> ToolResult:
        """Read the only time-stamped folder, and drop its plots: each holds 5 MB of a JavaScript library."""
        for plot in (order.folder / "work").rglob("*.html"):
            plot.unlink()
        return with_due(read_result(order.folder / "work", "ais_bench"), schedule(order))

    def notes(self, order: Order, result: ToolResult) -> Iterator[str]:
        """Say as well that the tool forgets when a request was due."""
        yield from super().notes(order, result)
        if order.plan.due is not None and schedule(order) is None:
            yield "ais_bench does not keep when a request was due: its times leave out what it waited before the start"


def _options(order: Order) -> dict[str, Any]:
    workload, target = order.job.workload, order.job.target
    burstiness = {"constant": 0.0, "poisson": 1.0}.get(workload.arrival, workload.burstiness)
    return {
        "attr": "service",
        "abbr": "service",
        "path": str(order.tokenizer),
        "model": target.model,
        "stream": workload.stream,
        "url": order.root_url,
        "request_rate": workload.request_rate or 0,
        "traffic_cfg": {"burstiness": burstiness},
        "use_timestamp": schedule(order) is not None,
        "retry": 1,
        "api_key": "",
        "max_out_len": max(request.output_tokens for request in order.plan.requests),
        "batch_size": workload.concurrency or len(order.plan.requests),
        "trust_remote_code": False,
        "generation_kwargs": order.shared_body(*FORCED),
    }
