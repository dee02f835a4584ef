"""The seed's settings: what `config.toml`, the environment and a plugin say, in one object."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from pytest_msprof.commands import VllmBenchmarkCommandConfig, VllmCommandConfig
from pytest_msprof.config_toml import config_files, merged, read_config, session
from pytest_msprof.errors import InvalidSettings, MsprofError, PluginError
from pytest_msprof.fields import OptimizerConfigField

__all__ = [
    "DataStorageConfig",
    "EngineConfig",
    "MetricAlgorithm",
    "PerformanceConfig",
    "PsoOptions",
    "Settings",
    "VllmBenchmarkConfig",
    "VllmConfig",
    "get_settings",
    "register_settings",
    "seconds_allowed",
]

MOST_STEPS = 1000


class _Table(BaseModel):
    """A table of the file: what is not named is an error."""

    model_config = ConfigDict(extra="forbid")


class MetricAlgorithm(_Table):
    """Which column of a benchmark's result a metric is, and which statistic of it."""

    metric: str = "TTFT"
    algorithm: str = "average"


class PerformanceConfig(_Table):
    """The `performance_config` table of a benchmark."""

    time_to_first_token: MetricAlgorithm = MetricAlgorithm(metric="TTFT")
    time_per_output_token: MetricAlgorithm = MetricAlgorithm(metric="TPOT")


class PsoOptions(_Table):
    """Coefficients of the particle swarm, for `search = "pso"`.

    The original's own, 2, 2 and 1.8, let the particles fly apart.
    """

    c1: float = 1.49618
    c2: float = 1.49618
    w: float = 0.72984


class DataStorageConfig(_Table):
    """Where the table of all evaluations goes."""

    store_dir: Path = Path("store")
    """Default: `store` in the output folder."""
    pso_top_k: int = 3


def _vllm_fields() -> list[OptimizerConfigField]:
    """Return the fields that the original ships; the request rate is unlimited unless a field limits it."""
    env = partial(OptimizerConfigField, config_position="env", dtype="int")
    return [
        env(name="MAX_NUM_BATCHED_TOKENS", min=8192, max=65536, value=8192),
        env(name="MAX_NUM_SEQS", min=32, max=512, value=64),
        env(name="CONCURRENCY", min=1, max=1000, value=100),
    ]


class EngineConfig(_Table):
    """The table of an engine that needs no command here: its fields."""

    target_field: list[OptimizerConfigField] = Field(default_factory=list)


class VllmConfig(_Table):
    """The `[vllm]` table."""

    output: Path = Path("vllm")
    process_name: str = "vllm"
    work_path: Path = Field(default_factory=Path.cwd)
    command: VllmCommandConfig = Field(default_factory=VllmCommandConfig)
    target_field: list[OptimizerConfigField] = Field(default_factory=_vllm_fields)


class VllmBenchmarkConfig(_Table):
    """The `[vllm_benchmark]` table."""

    output_path: Path = Path("vllm")
    process_name: str = ""
    command: VllmBenchmarkCommandConfig = Field(default_factory=VllmBenchmarkCommandConfig)
    performance_config: PerformanceConfig = Field(default_factory=PerformanceConfig)
    target_field: list[OptimizerConfigField] = Field(default_factory=list)


class Settings(BaseSettings):
    """Everything a settings file can say; derive from it to add your own keys.

    Arguments win over the environment (`MODEL_EVAL_STATE_<KEY>`), which wins over the files.
    """

    model_config = SettingsConfigDict(env_prefix="model_eval_state_", extra="forbid")

    output: Path = Field(default_factory=lambda: Path.cwd() / "result")
    """Root of what is written."""
    data_storage: DataStorageConfig = Field(default_factory=DataStorageConfig)
    n_particles: int = Field(10, gt=0, lt=MOST_STEPS)
    """With *iters*: a study has as many trials as their product."""
    iters: int = Field(5, gt=0, lt=MOST_STEPS)
    ftol: float | None = None
    ftol_iter: int = 1
    pso_options: PsoOptions = Field(default_factory=PsoOptions)
    particles_time_out: int = Field(3600, gt=0)
    """Seconds after which one benchmark counts as hanging."""
    wait_start_time: int = Field(1800, gt=0)
    """Seconds after which a start counts as hanging."""
    ttft_penalty: float = 1.0
    """0: the time to first token is no constraint; otherwise its weight in the table's `fitness`."""
    tpot_penalty: float = 0.0
    """0: the time per output token is no constraint; otherwise its weight in the table's `fitness`."""
    success_rate_penalty: float = 5.0
    """0: the success rate is no constraint; otherwise its weight in the table's `fitness`."""
    ttft_slo: float = Field(1.0, gt=0)
    """Mean time to first token that must not be exceeded, s."""
    tpot_slo: float = Field(0.05, gt=0)
    """Mean time per output token that must not be exceeded, s/token."""
    success_rate_slo: float = Field(1.0, gt=0, le=1)
    """Share of requests that must succeed."""
    slo_coefficient: float = 0.1
    generate_speed_target: float = Field(5000.0, gt=0)
    """Scale of the throughput in the table's `fitness`, token/s."""
    sample_size: int | None = Field(1000, gt=0)
    """Most requests a trial sends, whatever `num_prompts` says."""
    mem_coefficient: float = 0.8
    scaling_coefficient: float = 1.3
    theory_guided_enable: bool = True
    max_fine_tune: int = 10
    """For `search = "pso"`: most trials that adapt the load of the best configuration to the constraints."""
    step_size: float = 0.6
    """For `search = "pso"`: largest relative change of the load in one of them."""
    search: str = "auto"
    """How to search, as in `tune(search=…)`; not in the original, whose one search is `pso`."""
    workload: dict[str, Any] = Field(default_factory=dict)
    """Fields of the `Workload` that the optimizer sends, such as `input_tokens`; not in the original."""
    transformers: EngineConfig = Field(default_factory=EngineConfig)
    """Fields of the engine `transformers`; not in the original."""
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    vllm_benchmark: VllmBenchmarkConfig = Field(default_factory=VllmBenchmarkConfig)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the seed reads no .env
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the files between environment and defaults, merged at every depth."""
        tables = merged(*(read_config(path, settings_cls) for path in config_files()))
        return init_settings, env_settings, InitSettingsSource(settings_cls, tables), file_secret_settings

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """Complete what hangs together: folders, one address and one model for server and benchmark."""
        if "store_dir" not in self.data_storage.model_fields_set:
            self.data_storage.store_dir = self.output / "store"
        if "output" not in self.vllm.model_fields_set:
            self.vllm.output = self.output / "vllm"
        if "output_path" not in self.vllm_benchmark.model_fields_set:
            self.vllm_benchmark.output_path = self.output / "vllm"
        server, client = self.vllm.command, self.vllm_benchmark.command
        server.port = server.port or str(_free_port())
        server.model = server.model or session().model
        client.result_dir = client.result_dir or str(self.vllm_benchmark.output_path / "result")
        for name in ("host", "port", "model", "served_model_name"):
            setattr(client, name, getattr(client, name) or getattr(server, name))
        return self


_make: Callable[[], Any] | None = None
_made: tuple[Any, Settings] | None = None


def register_settings(func: Callable[[], Any] | None = None) -> None:
    """Let *func*, called without arguments, make the settings; None goes back to `Settings`."""
    global _make  # noqa: PLW0603 - the seed's signature: one settings object a process
    if func is not None and not callable(func):
        raise PluginError(f"register_settings needs a function that makes the settings, not {func!r}")
    _make = func


def get_settings() -> Settings:
    """Return the settings, made at the first call and again when their sources change.

    Raises `InvalidSettings` for a file or value that cannot be read as meant, and `PluginError`
    when a registered function fails.
    """
    global _made  # noqa: PLW0603 - see register_settings
    sources = (_make, session())
    if _made is None or _made[0] != sources:
        _made = sources, _build()
    return _made[1]


def seconds_allowed(name: str, otherwise: float) -> float:
    """Return the limit *name* where a file, the environment or a plugin sets it, and *otherwise* where none does."""
    found = get_settings()
    return float(getattr(found, name)) if name in found.model_fields_set else otherwise


def _build() -> Settings:
    make = _make or Settings
    try:
        settings = make()
    except ValidationError as error:
        raise InvalidSettings.of(error) from None
    except MsprofError:
        raise
    except Exception as error:
        name = f"{getattr(make, '__module__', '?')}.{getattr(make, '__qualname__', make)}"
        raise PluginError(f"the settings function {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(settings, Settings):
        raise PluginError(f"the registered settings function returned {settings!r}, not a Settings")
    return settings


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
