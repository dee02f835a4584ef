"""The options of `pytest-msprof load`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_msprof.load_words import (
    LENGTHS,
    read_body,
    read_concurrencies,
    read_dataset,
    read_field,
    read_header,
    read_lengths,
    read_rates,
    read_weight,
    typed,
)
from pytest_msprof.objectives import parse_limit, parse_objective
from pytest_msprof.workload import Workload

__all__ = ["BUILTIN", "add_arguments"]

BUILTIN = "builtin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; what is not given is None, and left to the workload."""
    parser.usage = "%(prog)s URL [OPTION …]"
    parser.add_argument(
        "url", metavar="URL", help="the service, such as http://127.0.0.1:8000 or unix:///run/engine.sock"
    )
    _add_service(parser.add_argument_group("service"))
    _add_load(parser.add_argument_group("load: how many, how fast"))
    _add_prompts(parser.add_argument_group("prompts and answers"))
    _add_files(parser.add_argument_group("prompts and times from files"))
    _add_objectives(parser.add_argument_group("objectives"))
    _add_output(parser.add_argument_group("load generator and output"))


def _add_service(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", default="", metavar="NAME", help="name of the model (the one the service lists)")
    add(
        "--mix", action="append", type=typed(read_weight), metavar="NAME=WEIGHT",
        help="model or LoRA adapter that a share of the requests goes to; repeatable",
    )  # fmt: skip
    add("--tokenizer", type=Path, metavar="DIR", help="folder of tokenizer.json, for exact lengths")
    add(
        "--endpoint",
        metavar="NAME",
        help=_help("completions, chat, embeddings, kserve, mindie, ray_serve, text_generation, triton", "endpoint"),
    )
    add("--stream", action=argparse.BooleanOptionalAction, help="answers token by token, where the endpoint can (yes)")
    add(
        "--header", action="append", default=[], type=typed(read_header), metavar="NAME:VALUE",
        help="sent with every request; repeatable",
    )  # fmt: skip
    add("--metrics-url", default="", metavar="URL", help="what the service counts (URL/metrics)")


def _add_load(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--concurrency", type=typed(read_concurrencies), metavar="N[,N…]",
        help="requests in flight at once (1 without a rate); several: a load of each",
    )  # fmt: skip
    add(
        "--request-rate", type=typed(read_rates), metavar="R[,R…]",
        help="requests a second, each sent when it is due (open loop); several: a load of each",
    )  # fmt: skip
    add(
        "--sweep", type=int, metavar="N",
        help="N loads: one request at a time, many at once (--concurrency, 256), and rates between",
    )  # fmt: skip
    add("--steps", type=float, metavar="S", help="one load whose rate or concurrency changes every S seconds")
    add("--ramp", type=float, metavar="S", help="one load that takes S seconds from each value to the next")
    add("--arrival", metavar="NAME", help=_help("constant, poisson, gamma, burst", "arrival"))
    add("--burstiness", type=float, metavar="X", help=_help("shape of gamma arrivals, crowded below 1", "burstiness"))
    add("--num-requests", type=int, metavar="N", help=_help("requests that are sent and counted", "num_requests"))
    add("--duration", type=float, metavar="S", help="seconds after which no further request is sent")
    add("--warmup", type=int, metavar="N", help=_help("requests sent before, and not counted", "warmup"))
    add("--timeout", type=float, metavar="S", help=_help("seconds after which a request counts as failed", "timeout"))


def _add_prompts(group: argparse._ArgumentGroup) -> None:
    add, lengths = group.add_argument, typed(read_lengths)
    add("--input-tokens", type=lengths, metavar="N", help=_help(f"tokens of each prompt: {LENGTHS}", "input_tokens"))
    add("--output-tokens", type=lengths, metavar="N", help=_help("tokens of each answer, likewise", "output_tokens"))
    add("--prefix-tokens", type=int, metavar="N", help="tokens of each prompt that others begin with as well")
    add("--num-prefixes", type=int, metavar="N", help="different beginnings (1)")
    add("--prefix-share", type=float, metavar="X", help="share of the prompts that begin with one (1)")
    add("--turns", type=lengths, metavar="N", help="turns of each talk, every one with the answers before it")
    add("--think-time", type=float, metavar="S", help="seconds from an answer to the next turn, on average (0)")
    add("--thinking", metavar="NAME", help="constant, exponential: how times to think differ (constant)")
    add("--ignore-eos", action=argparse.BooleanOptionalAction, help="answer at full length, where the engine can (yes)")
    add(
        "--sampling", action="append", type=typed(read_field), metavar="NAME=VALUE",
        help="sampling parameter, such as temperature=0.7; repeatable (greedy)",
    )  # fmt: skip
    add("--extra-body", type=typed(read_body), metavar="JSON", help="further fields of each request's body")
    add("--seed", type=int, metavar="N", help=_help("seed of prompts, lengths and arrivals", "seed"))


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--dataset", type=read_dataset, metavar="FILE", help="prompts from a file (random: synthetic ones)")
    add("--dataset-column", metavar="NAME", help="column that holds the prompt")
    add("--dataset-split", metavar="NAME", help="split of a dataset that has several")
    add("--dataset-again", action="store_true", default=None, help="send rows again when there are too few")
    add("--longest-prompt", type=int, metavar="N", help="leave out rows whose prompt has more tokens")
    add("--trace", type=Path, metavar="FILE", help="times and lengths of a recorded load")
    add("--time-scale", type=float, metavar="X", help="seconds for each second of the trace (1)")
    add("--trace-lengths", action="store_const", const="lengths", help="take the lengths of the trace only")
    add("--trace-block", type=int, metavar="N", help="tokens that one hash id of the trace stands for (512)")


def _add_objectives(group: argparse._ArgumentGroup) -> None:
    limit, objective = typed(parse_limit), typed(parse_objective)
    group.add_argument(
        "--goodput", action="append", default=[], type=limit, metavar="METRIC:LIMIT",
        help="limit that a good request keeps, such as ttft:0.5 (seconds); repeatable",
    )  # fmt: skip
    group.add_argument("--goodput-min", type=float, metavar="R", help="good requests a second that the run must reach")
    group.add_argument(
        "--fail-on", action="append", default=[], type=objective, metavar="METRIC>LIMIT",
        help="figure of the run that is a failure, such as 'ttft.p99>0.5' or 'success_rate<0.99'; repeatable",
    )  # fmt: skip


def _add_output(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--load-generator", default=BUILTIN, metavar="NAME", help="builtin, vllm_benchmark, guidellm, … (builtin)")
    add("--workers", type=int, metavar="N", help="processes that send (as many as the load needs)")
    add("--json", metavar="FILE", help="write the figures as JSON, - for standard output")
    add("--output", type=Path, metavar="DIR", help="keep the run here: figures, every request, its course")


def _help(meaning: str, name: str) -> str:
    """Return the meaning with the default of a workload."""
    default: Any = Workload.model_fields[name].default
    return f"{meaning} ({default})"
