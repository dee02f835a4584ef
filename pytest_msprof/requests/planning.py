"""From a workload to everything that one load sends."""

from __future__ import annotations

from pathlib import Path

from pytest_msprof.requests.arrivals import arrivals
from pytest_msprof.requests.prompts import prompts, warmup_prompts
from pytest_msprof.requests.request import Plan, Request
from pytest_msprof.workload import Workload

__all__ = ["plan"]


def plan(workload: Workload, *, tokenizer: Path | None, repeat: int = 0, step: int = 0) -> Plan:
    """Return what *workload* sends, a function of the workload, the tokenizer, *repeat* and *step*.

    *tokenizer* is a folder with `tokenizer.json`; where there is none, a word stands for a token.

    Raises `InvalidWorkload` when there are no such requests.
    """
    warm_up, requests = (
        [
            Request(prompt=text, input_tokens=workload.input_tokens, output_tokens=workload.output_tokens)
            for text in make(workload, tokenizer=tokenizer, repeat=repeat, step=step)
        ]
        for make in (warmup_prompts, prompts)
    )
    return Plan(warm_up, requests, arrivals(workload, repeat=repeat, step=step), workload.concurrency)
