"""The settings of a runner: what a YAML file says, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from msprof_runners.original_keys import MODEL_KEYS, PARALLEL_KEYS, RENAMED, Original, without_original_keys
from msprof_runners.parallel import check_world
from pytest_msprof.errors import InvalidSettings, UnknownName

__all__ = ["DataConfig", "ModelConfig", "ParallelConfig", "RunnerSettings", "packaged_settings"]

FOLDER = Path(__file__).parent / "settings"

ExeMode = Literal["eager", "ge_graph", "acl_graph"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class _Table(BaseModel):
    """A table of the file; it reads like a dict too, as the code of models expects."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    originals: ClassVar[Mapping[str, Original]] = {}
    """Keys of the original's tables that nothing here follows."""

    @model_validator(mode="before")
    @classmethod
    def _names_are_known(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        found = without_original_keys(values, cls.originals)
        for key in found:
            if key not in cls.model_fields and key not in cls._spelled():
                raise UnknownName("settings key", str(key), cls._spelled())
        return found

    @classmethod
    def _spelled(cls) -> dict[str, str]:
        """Return the key in the file → the attribute here."""
        return {field.alias or name: name for name, field in cls.model_fields.items()}

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*, *default* where there is no such key."""
        name = self._spelled().get(key)
        return default if name is None else getattr(self, name)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._spelled()[key])

    def __contains__(self, key: object) -> bool:
        return key in self._spelled()

    def keys(self) -> Iterator[str]:
        """Return the keys, so that `dict(settings)` works."""
        return iter(self._spelled())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values under the keys of the file."""
        return self.model_dump(mode="json", by_alias=True)


class ModelConfig(_Table):
    """The `model_config` table: how the model is loaded and run."""

    originals = MODEL_KEYS

    dtype: Dtype = "auto"
    """Type of the weights in memory; auto is that of the checkpoint."""
    with_ckpt: bool = True
    """False: random weights of the shapes in `config.json`, for measuring without a checkpoint."""
    enable_online_split_weight: bool = False
    """Whether each process reads its part of the original weights, in the place of weights split before."""
    enable_cache_compile: bool = False
    """Whether compiled graphs are kept in `compile_cache_path`, where the next start finds them."""
    compile_cache_path: str = ".msprof/compiled"
    """Folder of what compilers made."""
    tokenizer_mode: Literal["default", "chat"] = "default"
    """Whether a prompt is a text to go on with, or what a user says in a talk, by the model's chat template."""
    enable_weight_nz: bool = False
    """Whether `cast_format` stores the weights of linear layers in the NPU's own format."""
    enable_fusion: bool = True
    """Whether a known model runs in fewer operations, with joint projections; false: as transformers runs it."""
    enable_profiler: bool = False
    """Whether each `model_generate` is followed by a second, profiled pass, which is never the timed one."""
    profile_path: str = ".msprof/profiles"
    """Folder of the traces."""
    allow_mode_substitution: bool = False
    """Whether a graph mode that the device does not have may be replaced by one it has; the run says so."""
    attn_implementation: str = ""
    """Attention of transformers (`eager`, `sdpa`, …); empty is the model's own choice."""
    warm_up: int = Field(1, ge=0)
    """Untimed passes of two tokens before the first timed one of each batch size."""


class DataConfig(_Table):
    """The `data_config` table: lengths and sizes of what is asked."""

    dataset: str = "default"
    """Where prompts come from: `default`, `synthetic`, or the path of a JSON lines file."""
    input_max_len: int = Field(1024, ge=1)
    """Longest prompt, in tokens; longer ones are cut, and the run says so."""
    max_new_tokens: int = Field(32, ge=1)
    """Most tokens of an answer."""
    batch_size: int = Field(1, ge=1)
    """How many prompts `prompts()` makes; `model_generate` runs as many as it is given."""
    ignore_eos: bool = False
    """Whether generation goes on after the end-of-sequence token."""
    max_position_embeddings: int | None = Field(None, ge=1)
    """Most positions of prompt and answer together; None is the model's own."""


class ParallelConfig(_Table):
    """The `parallel_config` table: over how many processes each part of the model is divided."""

    originals = PARALLEL_KEYS

    attn_tp_size: int = Field(1, ge=1)
    attn_dp_size: int | None = Field(None, ge=1)
    """Groups that attend to different requests; None is world_size / attn_tp_size."""
    moe_tp_size: int = Field(1, ge=1)
    moe_ep_size: int | None = Field(None, ge=1)
    """Groups that hold different experts; None is world_size / moe_tp_size."""
    dense_tp_size: int = Field(1, ge=1)
    embed_tp_size: int = Field(1, ge=1)
    lmhead_tp_size: int = Field(1, ge=1)


class RunnerSettings(_Table):
    """Everything that makes a runner. The keys are those of the original's YAML files.

    The table `model_config` is the attribute `model` here, since pydantic has its own use for that name.
    """

    model_name: str
    """What the model is called in results."""
    model_path: str = ""
    """Folder of the model: `config.json`, tokenizer, weights."""
    runner: str = "huggingface"
    """Which registered runner: `huggingface` serves every architecture of causal language models."""
    device: str = "auto"
    """`cpu`, `cuda`, `npu`, one of them with an index, or auto: CUDA where it is, else the processor."""
    exe_mode: ExeMode = "eager"
    world_size: int = Field(1, ge=1)
    seed: int = 0
    """Seed of random weights and of synthetic prompts."""
    model: ModelConfig = Field(default_factory=ModelConfig, alias="model_config")
    data: DataConfig = Field(default_factory=DataConfig, alias="data_config")
    parallel: ParallelConfig = Field(default_factory=ParallelConfig, alias="parallel_config")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        check_world(self.world_size, self.parallel.to_dict())
        return self

    @classmethod
    def of(cls, settings: RunnerSettings | Mapping[str, Any]) -> RunnerSettings:
        """Return *settings*, checked where they are a plain dict.

        Raises `UnknownName` for a key that does not exist, and `InvalidSettings` for a value that
        cannot be used.
        """
        if isinstance(settings, RunnerSettings):
            return settings
        if not isinstance(settings, Mapping):
            raise InvalidSettings(f"settings of a runner must be a table of keys and values, but got {settings!r:.80}")
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            raise InvalidSettings.of(error, most=80) from None

    @classmethod
    def from_yaml(cls, name_or_path: str | Path, **overrides: Any) -> RunnerSettings:
        """Read a packaged settings file by its name, or any by its path, and change single keys.

        A key of a table may be given without the table: `from_yaml("gpt_oss_20b", batch_size=8)`.
        """
        return cls.of(cls._merged(_read(_find(name_or_path)), overrides))

    def replaced(self, **overrides: Any) -> RunnerSettings:
        """Return the same settings with single keys changed, as in `from_yaml`."""
        return self.of(self._merged(self.to_dict(), overrides))

    @classmethod
    def _merged(cls, values: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        tables: dict[str, type[_Table]] = {
            "model_config": ModelConfig,
            "data_config": DataConfig,
            "parallel_config": ParallelConfig,
        }
        known = {key: table for table, fields in tables.items() for key in (*fields.model_fields, *fields.originals)}
        known |= dict.fromkeys(RENAMED, "model_config")
        merged = {
            key: dict(value) if key in tables and isinstance(value, Mapping) else value for key, value in values.items()
        }
        for key, value in overrides.items():
            if key in tables and isinstance(value, Mapping):
                merged[key] = {**merged.get(key, {}), **value}
            elif key in cls._spelled():
                merged[key] = value
            elif key in known:
                merged[known[key]] = {**merged.get(known[key], {}), key: value}
            else:
                raise UnknownName("settings key", key, (*cls._spelled(), *known))
        return merged


def packaged_settings() -> tuple[str, ...]:
    """Return the names of the settings files that come with this package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def _find(name_or_path: str | Path) -> Path:
    packaged = FOLDER / f"{name_or_path}.yaml"
    if str(name_or_path) in packaged_settings():
        return packaged
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return path
    raise UnknownName("settings file", str(name_or_path), packaged_settings())


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(f"cannot read the settings file {path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettings(f"the settings file {path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise InvalidSettings(f"the settings file {path} must hold keys and values, but holds {found!r:.60}")
    return found
