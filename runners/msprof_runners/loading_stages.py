"""The first half of a runner: a device, a model on it, its tokenizer, and what its mode needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msprof_runners.checkpoint import read_config
from msprof_runners.compile_cache import keep_compiled
from msprof_runners.devices import Device
from msprof_runners.parallel import check_model, check_world
from msprof_runners.quantization import check_quantization
from msprof_runners.runner_settings import RunnerSettings
from msprof_runners.world import World, is_joined
from pytest_msprof.errors import CheckpointError, ConfigurationError
from pytest_msprof.ids import new_id

if TYPE_CHECKING:
    from msprof_runners.decoder import Decoder
    from msprof_runners.divided_weights import Held
    from msprof_runners.division import Division
    from msprof_runners.graphs import Compiler

__all__ = ["LoadingStages", "phase"]


class LoadingStages:
    """Everything from the settings to a model that can be asked; each stage may be replaced."""

    def __new__(cls, runner_settings: RunnerSettings | Mapping[str, Any]) -> Self:
        """Make a runner of this process, or a `DividedRunner` where the settings ask for several and this is none."""
        settings = RunnerSettings.of(runner_settings)
        if settings.world_size > 1 and not is_joined():
            from msprof_runners.divided_runner import DividedRunner

            return DividedRunner(cls, settings)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(self, runner_settings: RunnerSettings | Mapping[str, Any]) -> None:
        self.runner_settings = RunnerSettings.of(runner_settings)
        settings = self.runner_settings
        self.model_name = settings.model_name
        self.model_path = Path(settings.model_path)
        self.exe_mode = settings.exe_mode
        self.dtype = settings.model.dtype
        self.max_position_embeddings = settings.data.max_position_embeddings
        """Most tokens of prompt and answer together by the settings; `positions` knows the model's own, too."""
        self.input_max_len = settings.data.input_max_len
        self.max_new_tokens = settings.data.max_new_tokens
        self.batch_size = settings.data.batch_size
        self.enable_profiler = settings.model.enable_profiler
        self.enable_online_split_weight = settings.model.enable_online_split_weight
        self.layout = check_world(settings.world_size, settings.parallel.to_dict())
        self.launch_id = new_id()
        """This load of the model: the unit of evidence in a comparison."""
        self.phases: dict[str, float] = {}
        """Seconds that loading took, by metric name."""
        self.warmed: dict[int, dict[str, float]] = {}
        """Batch size → seconds of the passes that nobody timed, by metric name."""
        self.profile_path = Path(settings.model.profile_path)
        self.notes: list[str] = []
        """What a reader of the figures must know."""
        self.model: Any = None
        self.tokenizer: Any = None
        self.hf_config: Any = None
        self.division: Division | None = None
        """Which part of the weights this process holds, where there are several."""
        self.counterparts: Any = None
        """The group of processes that answer other requests of a batch, where there are any."""
        self.held = 1.0
        """Elements of the weights that this process holds / of the whole model."""
        self.quantization: str | None = None
        """What the weights are quantized as, None for plain ones."""
        self.stop_tokens: frozenset[int] = frozenset()
        self.pad_token = 0
        self.decoder: Decoder | None = None
        """The model's forward pass in fewer operations, where there is one."""
        self.compiler: Compiler | None = None
        self._cache: Any = None
        self._cache_batch = 0
        self._graph: Callable[..., Any] | None = None
        self.init_device()

    def init_device(self) -> None:
        """Find the device, make it that of this process, and meet the other processes, if there are any.

        Raises `DeviceUnavailable` where it is not there.
        """
        self.world = World.of(self.runner_settings.world_size)
        self.device = Device.of(self.runner_settings.device, rank=self.world.local_rank)
        self.device.select()
        self.world.join(self.device.backend)

    def init_model(self, model: Any = None, config: Any = None) -> Self:
        """Load the model, its tokenizer and what the mode needs, and return the runner.

        *model* is a class of transformers' kind and *config* its configuration; without them both are
        those of the checkpoint. Sizes that do not fit the model are refused before a weight is read.
        """
        content = read_config(self.model_path)
        check_model(content, self.layout)
        model = self._prepare(content, model, config)
        with phase(self.phases, "load_time"), self.device.guarding_memory(f"the model {self.model_name}"):
            if self.enable_online_split_weight:
                self._init_model_with_online_splited_weight(model, self.hf_config)
            else:
                self._init_model_with_offline_splited_weight(model, self.hf_config)
            self.scale_dtype_adapter()
            self.to_device()
            self.cast_format()
            self.fuse()
            self.device.synchronize()
        self.init_tokenizer()
        if self.exe_mode != "eager":
            self.graph_compile()
        return self

    def _prepare(self, content: Mapping[str, Any], model: Any, config: Any) -> Any:
        """Settle the configuration and return the model's class; what is imported for that counts as no loading."""
        from msprof_runners.weights import architecture, load_config

        self.hf_config = config or load_config(self.model_path, content)
        if self.runner_settings.model.attn_implementation:
            self.hf_config._attn_implementation = self.runner_settings.model.attn_implementation  # noqa: SLF001 - transformers' own way
        self._verify_quantization()
        return model or architecture(self.hf_config)

    def _init_model_with_online_splited_weight(self, model: Any, config: Any) -> None:
        """Make the model from the original weights, of which a process reads its own part: with one, all."""
        if self.world.size > 1:
            self._load_part(model, config, saved=False)
        else:
            self._load(model, config)

    def _init_model_with_offline_splited_weight(self, model: Any, config: Any) -> None:
        """Make the model from weights that `save_model` divided before: with one process, from undivided ones."""
        if self.world.size > 1:
            self._load_part(model, config, saved=True)
        else:
            self._load(model, config)

    def _load_part(self, model: Any, config: Any, *, saved: bool) -> None:
        from msprof_runners.divided_weights import load_part, load_saved_part, make_random_part
        from msprof_runners.division import Division
        from msprof_runners.exchange import connect

        if self.quantization and saved:
            raise ConfigurationError(
                f"weights in {self.quantization} are divided while they are read: set enable_online_split_weight: true"
            )
        self.division = Division(config, self.layout, self.world.rank)
        extra: dict[str, Any] = {"dtype": self.dtype, "runner_settings": self.runner_settings}
        load: Callable[..., Held] = load_saved_part if saved else load_part
        if not self.runner_settings.model.with_ckpt:
            load = make_random_part
            extra |= {"seed": self.runner_settings.seed, "device": self.device.name}
        self.model, self.held = load(model, self.model_path, config, self.division, **extra)
        groups = self.world.groups(self.layout)
        if self.layout.attn_dp_size > 1:
            self.counterparts = self.world.counterparts(self.layout)
        connect(self.model, self.division, groups, self.counterparts)

    def _load(self, model: Any, config: Any) -> None:
        from msprof_runners.weights import load_whole, make_random

        extra = {"runner_settings": self.runner_settings}
        if self.runner_settings.model.with_ckpt:
            self.model = load_whole(model, self.model_path, config, dtype=self.dtype, **extra)
        else:
            seed, device = self.runner_settings.seed, self.device.name
            self.model = make_random(model, config, dtype=self.dtype, seed=seed, device=device, **extra)

    def init_tokenizer(self) -> None:
        """Load the tokenizer; prompts are padded on the left, and cut at their end."""
        import transformers

        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.model_path, padding_side="left", truncation_side="right"
            )
        except (OSError, ValueError, KeyError) as error:
            why = " ".join(str(error).split())[:200]
            raise CheckpointError(f"the tokenizer in {self.model_path} cannot be loaded: {why}") from None
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        if ends is None:
            ends = self.tokenizer.eos_token_id
        self.stop_tokens = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self.pad_token = self.tokenizer.pad_token_id or 0

    def scale_dtype_adapter(self) -> None:
        """Let quantized weights give numbers of the model's type, which the settings may have changed."""
        if self.quantization:
            from msprof_runners.quantized_parts import adapt_scales

            adapt_scales(self.model)

    def to_device(self) -> None:
        """Move the model to the device."""
        self.model.to(self.device.name)

    def cast_format(self) -> None:
        """Store the weights of linear layers in the NPU's own format, where `enable_weight_nz` asks for it."""
        if not self.runner_settings.model.enable_weight_nz:
            return
        if self.device.kind != "npu":
            self.notes.append(f"enable_weight_nz has no effect on {self.device.name}: the format is the NPU's own")
            return
        import torch

        for module in self.model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = self.device.native_format(module.weight.data)

    def fuse(self) -> None:
        """Make the model's forward pass one of few operations, where its parts are known and `enable_fusion` says so.

        Several processes, quantized weights and NPUs keep that of transformers.
        """
        if self.runner_settings.model.enable_fusion and self.world.size == 1:
            from msprof_runners.decoder import Decoder

            self.decoder = Decoder.of(self.model)

    @property
    def forward(self) -> Any:
        """What computes a step: the model, or its fused forward pass."""
        return self.model if self.decoder is None or self.decoder.model is not self.model else self.decoder

    def graph_compile(self) -> None:
        """Make the decode step run as one graph; compiling itself happens in the first pass of each batch size.

        Raises `ConfigurationError` where the device does not have the mode.
        """
        from msprof_runners.graphs import compiler_for

        allowed = self.runner_settings.model.allow_mode_substitution
        self.compiler = compiler_for(self.exe_mode, self.device, substitute=allowed)
        if self.compiler.note:
            self.notes.append(self.compiler.note)
        if self.runner_settings.model.enable_cache_compile:
            keep_compiled(self.compiler.name, Path(self.runner_settings.model.compile_cache_path))
        self._graph = self.compiler.compile(self.forward.__call__)

    def save_model(self, folder: str | Path) -> None:
        """Write the model and its tokenizer to *folder*, from where a runner loads them again.

        Several processes write a folder `rank_<r>` each, for a runner of the same layout.
        Raises `ConfigurationError` for a quantized model, which transformers cannot write.
        """
        if self.quantization:
            raise ConfigurationError(f"a model in {self.quantization} cannot be written again: it is {self.model_path}")
        if self.division is None:
            self.model.save_pretrained(folder)
        else:
            from msprof_runners.divided_weights import save_part

            save_part(self.model, Path(folder), self.division)
        if self.world.rank == 0:
            self.tokenizer.save_pretrained(folder)
        self.world.wait_for_all()

    def _parse_quant_hf_config(self) -> dict[str, Any]:
        """Return the `quantization_config` of the checkpoint, empty where it is not quantized."""
        found = getattr(self.hf_config, "quantization_config", None) or getattr(
            self.hf_config, "compression_config", None
        )
        if found is None:
            return {}
        return dict(found if isinstance(found, dict) else found.to_dict())

    def _verify_quantization(self) -> None:
        """Learn how the weights are quantized; raises `ConfigurationError` for a way that this device cannot run."""
        found = self._parse_quant_hf_config()
        self.quantization = check_quantization(found, device=self.device.kind, model=str(self.model_path))
        if self.quantization and not self.runner_settings.model.with_ckpt:
            raise ConfigurationError(f"with_ckpt: false makes plain weights, but the model's are {self.quantization}")

    @property
    def is_loaded(self) -> bool:
        """Whether there is a model to ask."""
        return self.model is not None

    def close(self) -> None:
        """Let go of model and memory."""
        self.model = self.decoder = self._graph = self._cache = None
        self.warmed.clear()
        self.device.release_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def phase(phases: dict[str, float], name: str) -> Iterator[None]:
    """Write into *phases* how many seconds the `with` takes."""
    start = time.perf_counter()
    yield
    phases[name] = time.perf_counter() - start
