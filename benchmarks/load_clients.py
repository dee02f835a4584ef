"""The load generators that are measured beside each other: how each is told to send the same load, and what it kept.

They are looked for in `.engines`, where `python -m msprof_plugins.install_engine NAME …` puts them:
`vllm`, `guidellm`, `aiperf` and `ais_bench` are asked through the adapters of this project;
`vllm-rs`, `perf_analyzer` and `sglang-bench` are native programs out of the wheels of their projects;
`evalscope` and `inference-perf` (Python 3.12) are told by their own options.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.tool_results import read_result
from msprof_plugins.tools.aiperf import Aiperf
from msprof_plugins.tools.ais_bench import AisBench
from msprof_plugins.tools.guidellm import Guidellm
from msprof_plugins.tools.tool import OFFLINE, Tool
from msprof_plugins.tools.vllm_benchmark import VllmBenchmark
from pytest_msprof.blocks import read
from pytest_msprof.errors import EngineNotInstalled, LoadError
from pytest_msprof.interfaces import LaunchContext, LoadJob, Target
from pytest_msprof.process import EngineProcess
from pytest_msprof.requests import prompts
from pytest_msprof.samples import Samples
from pytest_msprof.workload import Workload

__all__ = ["CLIENTS", "Client", "ClientFailed", "Load", "Spent", "installed", "send"]

ROOT = Path(__file__).parents[1]
ENGINES = ROOT / ".engines"
TOKENIZER = ROOT / "models" / "tiny-qwen2"
MODEL = "fake"
TIMEOUT = 120.0
"""Seconds that one run of a client may take; the slowest needs 60."""


class Load(NamedTuple):
    """What every client is asked to send."""

    url: str
    requests: int
    concurrency: int
    output_tokens: int = 64
    input_tokens: int = 16
    rate: float | None = None
    """Requests a second, evenly spaced (sglang-bench: Poisson); None is a closed loop."""
    is_exact: bool = True
    """Whether prompts have their length under the tokenizer; ours can do without."""


class Spent(NamedTuple):
    """What one run of a client cost."""

    began: float
    """When its command was started, on the monotonic clock."""
    cpu: float
    """Processor seconds of it and all its processes."""


class Command(NamedTuple):
    """A command, and the variables it needs beside ours."""

    argv: list[str]
    environment: Mapping[str, str] = {}


class Client(NamedTuple):
    """A load generator."""

    is_installed: Callable[[], bool]
    command: Callable[[Load, Path], Command]
    """Makes the command for a load; the folder is fresh, and takes what the client writes."""
    samples: Callable[[Path], Samples | None]
    """Reads the requests from that folder."""
    is_native: bool = True
    """Whether it sends at once: those in Python import for 10 to 40 seconds first."""


class ClientFailed(subprocess.SubprocessError):
    """A client ended with an error, or not in time."""


def ours(load: Load, folder: Path) -> Command:
    """Return the command of `pytest-msprof load`."""
    rate = ["--request-rate", str(load.rate), "--arrival", "constant"] if load.rate else []
    shape = rate or ["--concurrency", str(load.concurrency)]
    lengths = ["--input-tokens", str(load.input_tokens), "--output-tokens", str(load.output_tokens)]
    exact = ["--tokenizer", str(TOKENIZER)] if load.is_exact else []
    command = [sys.executable, "-m", "pytest_msprof.cli", "load", load.url, *exact]
    number = ["--num-requests", str(load.requests), "--warmup", "0"]
    return Command([*command, *number, *shape, *lengths, "--output", str(folder / "ours")])


def our_samples(folder: Path) -> Samples:
    """Return what `pytest-msprof load` kept."""
    return read(next((folder / "ours").rglob("samples*")))


def vllm_rs(load: Load, folder: Path) -> Command:
    """Return the command of vLLM's client in Rust."""
    rate = ["--request-rate", str(load.rate), "--burstiness", "inf"] if load.rate else []
    return Command(
        [
            *(str(ENGINES / "vllm-rs/bin/vllm-rs"), "bench", "serve", "--backend", "openai", "--base-url", load.url),
            *("--endpoint", "/v1/completions", "--model", MODEL, "--tokenizer", str(TOKENIZER)),
            *("--dataset-name", "random", "--random-input-len", str(load.input_tokens)),
            *("--random-output-len", str(load.output_tokens), "--num-prompts", str(load.requests)),
            *(rate or ["--max-concurrency", str(load.concurrency)]),
            *("--ignore-eos", "--num-warmups", "0", "--temperature", "0", "--ready-check-timeout-sec", "0"),
            *("--disable-tqdm", "--save-result", "--save-detailed"),
            *("--result-dir", str(folder), "--result-filename", "result.json"),
        ]
    )


def sglang_bench(load: Load, folder: Path) -> Command:
    """Return the command of sglang's client in Rust."""
    rate = ["--request-rate", str(load.rate)] if load.rate else []
    home = ENGINES / "sglang-bench" / "bin"
    return Command(
        [
            *(str(home / "python"), str(home / "sglang-bench"), "--backend", "vllm", "--base-url", load.url),
            *("--dataset-name", "random-ids", "--model", MODEL, "--tokenizer", str(TOKENIZER)),
            *("--random-input-len", str(load.input_tokens), "--random-output-len", str(load.output_tokens)),
            *("--random-range-ratio", "1.0", "--num-prompts", str(load.requests)),
            *(rate or ["--max-concurrency", str(load.concurrency)]),
            *("--warmup-requests", "0", "--ready-check-timeout-sec", "0", "--disable-tqdm", "--disable-retokenize"),
            *("--output-details", "--output-file", str(folder / "result.jsonl")),
        ]
    )


def perf_analyzer(load: Load, folder: Path) -> Command:
    """Return the command of Triton's client in C++, as genai-perf gives it.

    It measures window after window until they agree within the stability percentage, which takes
    for ever where the server's answers come at once: a count of requests ends it after one.
    """
    workload = Workload(input_tokens=load.input_tokens, num_requests=load.requests)
    asked = {"model": MODEL, "max_tokens": load.output_tokens, "temperature": 0, "ignore_eos": True}
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    rows = [{"payload": [{**asked, "prompt": text}]} for text in prompts(workload, tokenizer=TOKENIZER)]
    (folder / "requests.json").write_text(json.dumps({"data": rows}))
    shape = ["--concurrency-range", str(load.concurrency)]
    if load.rate:
        shape = ["--request-rate-range", str(load.rate), "--request-distribution", "constant"]
    home = ENGINES / "perf_analyzer"
    argv = [
        *(str(home / "bin/perf_analyzer"), "-m", MODEL, "-u", load.url, "-i", "http", "--async"),
        *("--service-kind", "openai", "--endpoint", "v1/completions", *shape),
        *("--request-count", str(load.requests), "--stability-percentage", "999"),
        *("--input-data", str(folder / "requests.json"), "--profile-export-file", str(folder / "profile_export.json")),
    ]
    return Command(argv, {"LD_LIBRARY_PATH": str(home / "lib")})


def evalscope(load: Load, folder: Path) -> Command:
    """Return the command of `evalscope perf`; at a rate its arrivals are Poisson."""
    rate = ["--rate", str(load.rate), "--open-loop"] if load.rate else ["--parallel", str(load.concurrency)]
    home, tokens = ENGINES / "evalscope" / "bin", str(load.input_tokens)
    argv = [
        *(str(home / "python"), str(home / "evalscope"), "perf", "--url", f"{load.url}/v1/completions", *rate),
        *("--api", "openai", "--model", MODEL, "--tokenizer-path", str(TOKENIZER), "--dataset", "random"),
        *("--min-prompt-length", tokens, "--max-prompt-length", tokens, "--number", str(load.requests)),
        *("--max-tokens", str(load.output_tokens), "--min-tokens", str(load.output_tokens), "--warmup-num", "0"),
        *("--outputs-dir", str(folder / "evalscope"), "--no-timestamp", "--no-test-connection"),
    ]
    return Command(argv, OFFLINE)


def evalscope_samples(folder: Path) -> Samples | None:
    """Return what evalscope kept; its folder is named after the load."""
    (summary,) = (folder / "evalscope").rglob("benchmark_summary.json")
    return read_result(summary.parent, "evalscope").measurement.samples


def inference_perf(load: Load, folder: Path) -> Command:
    """Return the command of inference-perf; everything is said in a file."""
    lengths = [("input", load.input_tokens), ("output", load.output_tokens)]
    stage: dict[str, float] = {"concurrency_level": load.concurrency, "num_requests": load.requests}
    if load.rate:
        stage = {"rate": load.rate, "duration": round(load.requests / load.rate)}
    configuration = {
        "api": {"type": "completion", "streaming": True},
        "data": {
            "type": "random",
            **{
                f"{name}_distribution": {"min": n, "max": n, "mean": n, "std_dev": 0, "total_count": load.requests}
                for name, n in lengths
            },
        },
        "load": {"type": "constant" if load.rate else "concurrent", "stages": [stage], "num_workers": 1},
        "server": {"type": "vllm", "model_name": MODEL, "base_url": load.url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": str(TOKENIZER)},
        "storage": {"local_storage": {"path": str(folder / "reports")}},
        "report": {"request_lifecycle": {"summary": True, "per_request": True}},
    }
    (folder / "inference-perf.yml").write_text(json.dumps(configuration))
    home = ENGINES / "inference-perf" / "bin"
    command = [str(home / "python"), str(home / "inference-perf"), "-c", str(folder / "inference-perf.yml")]
    return Command(command, OFFLINE)


def native(name: str, command: Callable[[Load, Path], Command], reader: str, result: str) -> Client:
    """Return a native client, whose *reader* knows its *result*."""
    program = ENGINES / name / "bin" / name
    return Client(program.exists, command, lambda folder: read_result(folder / result, reader).measurement.samples)


def adapted(tool: Tool) -> Client:
    """Return a client that our adapter knows to ask and to read."""

    def is_installed() -> bool:
        try:
            find_interpreter(tool.engine, rootdir=ROOT)
        except EngineNotInstalled:
            return False
        return True

    orders = {}

    def command(load: Load, folder: Path) -> Command:
        order = orders[folder] = tool.order(job(load, folder))
        argv = list(tool.command(order))
        return Command(argv, {**OFFLINE, **tool.environment(order)})

    def samples(folder: Path) -> Samples | None:
        return tool.read(orders.pop(folder)).measurement.samples

    return Client(is_installed, command, samples, is_native=False)


def job(load: Load, folder: Path) -> LoadJob:
    """Return the load as an adapter takes it."""
    workload = Workload(
        input_tokens=load.input_tokens,
        output_tokens=load.output_tokens,
        num_requests=load.requests,
        warmup=0,
        arrival="constant" if load.rate else "poisson",
        **({"request_rate": load.rate} if load.rate else {"concurrency": load.concurrency}),
    )
    target = Target(load.url, MODEL, TOKENIZER, lambda n: {"temperature": 0, "ignore_eos": True, "max_tokens": n})
    context = LaunchContext(EngineProcess.start, folder, rootdir=ROOT)
    return LoadJob(workload, target, folder, context=context)


CLIENTS: dict[str, Client] = {
    "ours": Client(lambda: True, ours, our_samples),
    "vllm-rs": native("vllm-rs", vllm_rs, "vllm", "result.json"),
    "perf_analyzer": native("perf_analyzer", perf_analyzer, "genai_perf", ""),
    "sglang-bench": native("sglang-bench", sglang_bench, "sglang", "result.jsonl"),
    "vllm": adapted(VllmBenchmark()),
    "aiperf": adapted(Aiperf()),
    "guidellm": adapted(Guidellm()),
    "ais_bench": adapted(AisBench()),
    "evalscope": Client((ENGINES / "evalscope/bin/evalscope").exists, evalscope, evalscope_samples, is_native=False),
    "inference-perf": Client(
        (ENGINES / "inference-perf/bin/inference-perf").exists,
        inference_perf,
        lambda folder: read_result(folder / "reports", "inference_perf").measurement.samples,
        is_native=False,
    ),
}


def installed(names: list[str]) -> list[str]:
    """Return those of *names* that are there, ours first."""
    return [name for name, client in CLIENTS.items() if name in names and client.is_installed()]


def send(name: str, load: Load, folder: Path) -> Spent:
    """Run a client to its end; raises `ClientFailed` with its last words where it fails, or takes too long."""
    try:
        command = CLIENTS[name].command(load, folder)
    except LoadError as error:
        raise ClientFailed(str(error)) from error
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", **command.environment}
    log = folder / "client.log"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.argv, stdout=output, stderr=output, env=environment, cwd=folder, start_new_session=True
        )
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise ClientFailed(f"did not end within {TIMEOUT:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        words = log.read_text(errors="replace").strip().splitlines()
        raise ClientFailed(f"ended with exit code {code}: {words[-1] if words else 'without a word'}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
