"""Command lines of the programs that the seed knows: `vllm serve` and `vllm bench serve`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pytest_msprof.errors import EngineNotInstalled, InvalidSettings

__all__ = ["VllmBenchmarkCommand", "VllmBenchmarkCommandConfig", "VllmCommand", "VllmCommandConfig"]

MOST_PROMPTS = 1_000_000


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Port = Annotated[str, BeforeValidator(_as_text)]
"""A port as text, as in the seed; a number is fine too."""


class VllmCommandConfig(BaseModel):
    """The `[vllm.command]` table."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: Port = ""
    """Empty: a free port, chosen once a session."""
    model: str = ""
    """Empty: the model of `--msprof-model`."""
    served_model_name: str = ""
    """Empty: the engine's own choice, which is *model*."""
    others: str = ""
    """Further options, as in a shell; `$NAME` stands for a field."""


class VllmBenchmarkCommandConfig(BaseModel):
    """The `[vllm_benchmark.command]` table; what is empty here comes from `[vllm.command]`."""

    model_config = ConfigDict(extra="forbid")

    serving: str = ""
    """Accepted for old files, without effect: a script of early vLLM versions."""
    backend: str = "vllm"
    host: str = ""
    port: Port = ""
    model: str = ""
    served_model_name: str = ""
    dataset_name: str = ""
    dataset_path: str = ""
    num_prompts: int = Field(3000, gt=0, le=MOST_PROMPTS)
    result_dir: str = ""
    others: str = ""
    """Further options, as in a shell; `$NAME` stands for a field."""


class VllmCommand:
    """Makes the `vllm serve` command line; `vllm` is looked for when the command is read."""

    def __init__(self, command_config: VllmCommandConfig) -> None:
        self.command_config = command_config

    @property
    def command(self) -> list[str]:
        """The argument list; raises `EngineNotInstalled` without `vllm`, and `InvalidSettings` without a model."""
        config = self.command_config
        return [
            _vllm(),
            "serve",
            _needed("vllm", config.model),
            *_option("--served-model-name", config.served_model_name),
            *_option("--host", config.host),
            *_option("--port", config.port),
            *_option("--max-num-batched-tokens", "$MAX_NUM_BATCHED_TOKENS"),
            *_option("--max-num-seqs", "$MAX_NUM_SEQS"),
            *shlex.split(config.others),
        ]


class VllmBenchmarkCommand:
    """Makes the `vllm bench serve` command line; `vllm` is looked for when the command is read."""

    def __init__(self, benchmark_command_config: VllmBenchmarkCommandConfig) -> None:
        self.benchmark_command_config = benchmark_command_config

    @property
    def command(self) -> list[str]:
        """The argument list; raises `EngineNotInstalled` without `vllm`, and `InvalidSettings` without a model."""
        config = self.benchmark_command_config
        return [
            _vllm(),
            "bench",
            "serve",
            *_option("--backend", config.backend),
            *_option("--host", config.host),
            *_option("--port", config.port),
            *_option("--model", _needed("vllm_benchmark", config.model)),
            *_option("--served-model-name", config.served_model_name),
            *_option("--dataset-name", config.dataset_name),
            *_option("--dataset-path", config.dataset_path),
            *_option("--num-prompts", str(config.num_prompts)),
            *_option("--max-concurrency", "$CONCURRENCY"),
            *_option("--request-rate", "$REQUESTRATE"),
            *_option("--result-dir", config.result_dir),
            "--save-result",
            *shlex.split(config.others),
        ]


def _option(flag: str, value: str) -> tuple[str, ...]:
    """Return flag and value, nothing for an empty value."""
    return (flag, value) if value else ()


def _needed(table: str, model: str) -> str:
    if not model:
        raise InvalidSettings(f"no model to use: give --msprof-model PATH, or set model in [{table}.command]")
    return model


def _vllm() -> str:
    """Find the program: beside the named interpreter, in `.engines`, beside this one, on PATH."""
    for folder in _folders():
        if found := shutil.which("vllm", path=str(folder)):
            return found
    if found := shutil.which("vllm"):
        return found
    raise EngineNotInstalled(
        "program 'vllm' was not found (looked beside $MSPROF_VLLM_PYTHON, in .engines/vllm, in this environment "
        "and on PATH); install it with: python -m msprof_plugins.install_engine vllm (a build for processors), "
        "or where there is a GPU: pip install 'pytest-msprof[vllm]'"
    )


def _folders() -> Iterator[Path]:
    if python := os.environ.get("MSPROF_VLLM_PYTHON"):
        yield Path(python).parent
    yield Path.cwd() / ".engines" / "vllm" / "bin"
    yield Path(sys.executable).parent
