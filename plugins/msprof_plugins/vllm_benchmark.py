"""The load generator `vllm_benchmark`: runs `vllm bench serve` and reads what it measured."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.load import StreamingLoad
from msprof_plugins.vllm import VLLM
from msprof_plugins.vllm_result import VllmResult, read_result
from pytest_msprof.errors import ConfigurationError, LoadError, UnknownName
from pytest_msprof.ids import digest
from pytest_msprof.interfaces import LaunchContext, LoadGenerator, LoadJob
from pytest_msprof.metrics import measure
from pytest_msprof.redaction import redact
from pytest_msprof.requests import prompts
from pytest_msprof.results import Measurement

__all__ = ["VllmBenchmark"]

START_UP = 300.0
"""Seconds the tool may take beside its requests: it imports for 20, on a busy machine for longer."""
ENVIRONMENT = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1", "VLLM_NO_USAGE_STATS": "1"}


class VllmBenchmark(LoadGenerator):
    """Sends our requests through vLLM's own client, in vLLM's own interpreter.

    The prompts are those of the built-in generator, byte for byte, and so is the warm-up: the tool
    would warm up with a prompt that it measures later. Its clock starts before it has a connection.
    """

    def generate(self, job: LoadJob) -> Measurement:
        """Run the tool, check that its result is fresh and adds up, and measure.

        Raises `EngineNotInstalled` where there is no vLLM, and `LoadError` when the tool fails or
        no request succeeded, whatever its exit code says.
        """
        if job.context is None:
            raise ConfigurationError("vllm_benchmark starts a program and needs a launch context")
        if job.fields:
            raise UnknownName("field of load generator 'vllm_benchmark'", next(iter(job.fields)), ())
        folder = job.folder / "vllm_bench"
        folder.mkdir(parents=True)
        _write_prompts(job, folder / "prompts.jsonl")
        StreamingLoad().warm_up(job)
        _run(_command(job, folder, job.context), job, job.context, folder)
        result = read_result(folder / "result.json", sent=job.workload.num_requests)
        if job.sink is not None:
            job.sink(result.samples)
        return measure(result.samples, result.duration, notes=tuple(_notes(job, result)))


def _write_prompts(job: LoadJob, path: Path) -> None:
    texts = prompts(job.workload, tokenizer=job.target.tokenizer, repeat=job.repeat, step=job.step)
    path.write_text("".join(f"{json.dumps({'prompt': text})}\n" for text in texts), encoding="utf-8")


def _command(job: LoadJob, folder: Path, context: LaunchContext) -> list[str]:
    """Return the command line; the order of the prompts is kept, and nothing is added to them."""
    workload, target = job.workload, job.target
    chat = workload.endpoint == "chat"
    options: dict[str, object] = {
        "backend": "openai-chat" if chat else "openai",
        "base-url": target.base_url.rstrip("/").removesuffix("/v1"),
        "endpoint": "/v1/chat/completions" if chat else "/v1/completions",
        "model": target.model,
        "dataset-name": "custom",
        "dataset-path": folder / "prompts.jsonl",
        "custom-output-len": workload.output_tokens,
        "num-prompts": workload.num_requests,
        "extra-body": json.dumps(dict(target.request_options(workload.output_tokens))),
        "seed": int(digest([workload.seed, job.repeat, job.step])[:8], 16),
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "result-dir": folder,
        "result-filename": "result.json",
    }
    if workload.concurrency is not None:
        options["max-concurrency"] = workload.concurrency
    if workload.request_rate is not None:
        options |= {"request-rate": workload.request_rate, "burstiness": 1.0}
    if target.tokenizer is not None:
        options["tokenizer"] = target.tokenizer
    flags = ["skip-chat-template", "disable-shuffle", "no-oversample", "save-result", "save-detailed", "disable-tqdm"]
    if target.tokenizer is None:
        flags.append("skip-tokenizer-init")
    program = find_interpreter(VLLM, rootdir=context.rootdir).command
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [*program, "bench", "serve", *given, *(f"--{flag}" for flag in flags)]


def _run(command: Sequence[str], job: LoadJob, context: LaunchContext, folder: Path) -> None:
    """Run the tool to its end; an interrupt ends it with us."""
    deadline = START_UP + _longest(job)
    process = context.launcher(
        command, name="vllm bench", env=_environment(job), cwd=folder, log_path=folder / "vllm_bench.log"
    )
    try:
        if not process.wait(deadline):
            raise LoadError(f"vllm bench did not end within {deadline:g} s: {process.log_tail(5)}")
        if process.returncode != 0:
            raise LoadError(f"vllm bench ended with exit code {process.returncode}: {process.log_tail(5)}")
    finally:
        process.stop()


def _environment(job: LoadJob) -> Mapping[str, str]:
    """Return our environment without a key for somebody else's service, and with the one for this one."""
    ours = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    key = {"OPENAI_API_KEY": job.target.api_key} if job.target.api_key else {}
    return {**ENVIRONMENT, **ours, **key}


def _longest(job: LoadJob) -> float:
    """Return the seconds that the requests of a load may take together."""
    workload = job.workload
    waves = math.ceil(workload.num_requests / workload.concurrency) if workload.concurrency else 1
    sending = workload.num_requests / workload.request_rate if workload.request_rate else 0.0
    return waves * workload.timeout + sending


def _notes(job: LoadJob, result: VllmResult) -> Iterator[str]:
    """Say what a reader of the figures must know."""
    samples, wanted = result.samples, job.workload.output_tokens
    yield "measured by vllm bench: its clock starts before the connection, and nothing bounds one request"
    if failed := int((~samples.ok).sum()):
        yield f"{failed} of {len(samples)} requests failed, the first: {redact(result.first_error)}"
    if result.role_events:
        yield f"{result.role_events} chats: times were moved from the role event to the first one with content"
    elif job.workload.endpoint == "chat":
        yield "ttft may end at the role event: the tool does not tell it from content"
    if others := int((samples.output_tokens[samples.ok] != wanted).sum()):
        yield (
            f"{others} of {int(samples.ok.sum())} answers have another length than the {wanted} tokens asked for; "
            f"the tool takes truncated answers for successes"
        )
