"""The load generators that are measured beside each other: how each is told to send the same load.

They are looked for in `.engines`: `vllm` and `aiperf` as `make engines` and `install_engine` make them;
`.engines/vllm-rs/bin/vllm-rs` is the program of that name inside the wheel of vllm 0.33, which needs
nothing else.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["CLIENTS", "Load", "Spent", "installed", "send"]

ROOT = Path(__file__).parents[1]
ENGINES = ROOT / ".engines"
TOKENIZER = ROOT / "models" / "tiny-qwen2"
TIMEOUT = 180.0


class Load(NamedTuple):
    """What every client is asked to send."""

    url: str
    requests: int
    concurrency: int
    output_tokens: int = 64
    input_tokens: int = 16
    rate: float | None = None


class Spent(NamedTuple):
    """What one run of a client cost."""

    began: float
    """When its command was started, on the monotonic clock."""
    cpu: float
    """Processor seconds of it and all its processes."""


def ours(load: Load, folder: Path) -> list[str]:
    """Return the command of `pytest-msprof load`."""
    rate = ["--request-rate", str(load.rate), "--arrival", "constant"] if load.rate else []
    shape = rate or ["--concurrency", str(load.concurrency)]
    lengths = ["--input-tokens", str(load.input_tokens), "--output-tokens", str(load.output_tokens)]
    command = [sys.executable, "-m", "pytest_msprof.cli", "load", load.url, "--tokenizer", str(TOKENIZER)]
    number = ["--num-requests", str(load.requests), "--warmup", "0"]
    return [*command, *number, *shape, *lengths, "--output", str(folder / "ours")]


def vllm_like(command: list[str]) -> Callable[[Load, Path], list[str]]:
    """Return what makes the command of `vllm bench serve`, or of its native twin."""

    def make(load: Load, folder: Path) -> list[str]:
        rate = ["--request-rate", str(load.rate), "--burstiness", "inf"] if load.rate else []
        return [
            *(*command, "bench", "serve", "--backend", "openai", "--base-url", load.url),
            *("--endpoint", "/v1/completions", "--model", "fake", "--tokenizer", str(TOKENIZER)),
            *("--dataset-name", "random", "--random-input-len", str(load.input_tokens)),
            *("--random-output-len", str(load.output_tokens), "--num-prompts", str(load.requests)),
            *(rate or ["--max-concurrency", str(load.concurrency)]),
            *("--ignore-eos", "--num-warmups", "0", "--temperature", "0", "--ready-check-timeout-sec", "0"),
            *("--disable-tqdm", "--save-result", "--save-detailed"),
            *("--result-dir", str(folder), "--result-filename", "vllm.json"),
        ]

    return make


def aiperf(load: Load, folder: Path) -> list[str]:
    """Return the command of aiperf."""
    rate = ["--request-rate", str(load.rate), "--request-rate-mode", "constant"] if load.rate else []
    return [
        *(str(ENGINES / "aiperf/bin/aiperf"), "profile", "-m", "fake", "--url", load.url),
        *("--endpoint-type", "completions", "--streaming", "--tokenizer", str(TOKENIZER), "--use-server-token-count"),
        *(rate or ["--concurrency", str(load.concurrency)]),
        *("--request-count", str(load.requests), "--isl", str(load.input_tokens), "--osl", str(load.output_tokens)),
        *("--extra-inputs", "ignore_eos:true", "--ui", "none", "--no-gpu-telemetry", "--no-server-metrics"),
        *("--artifact-dir", str(folder)),
    ]


CLIENTS: dict[str, tuple[Path, Callable[[Load, Path], list[str]]]] = {
    "ours": (Path(sys.executable), ours),
    "vllm-rs": (ENGINES / "vllm-rs/bin/vllm-rs", vllm_like([str(ENGINES / "vllm-rs/bin/vllm-rs")])),
    "vllm": (ENGINES / "vllm/bin/vllm", vllm_like([str(ENGINES / "vllm/bin/vllm")])),
    "aiperf": (ENGINES / "aiperf/bin/aiperf", aiperf),
}
"""Name → its program, and what makes its command."""


def installed(names: list[str]) -> list[str]:
    """Return those of *names* whose program is there, ours first."""
    return [name for name in CLIENTS if name in names and CLIENTS[name][0].exists()]


def send(name: str, load: Load, folder: Path) -> Spent:
    """Run a client to its end; raises CalledProcessError with its last words where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(
        CLIENTS[name][1](load, folder),
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
        env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
