"""ModelRunner: loads a model, runs batches of prompts through it, and measures every step.

Every stage is a method of its own that a subclass may replace; names and meanings are those of the
guide this class follows.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msprof_runners.checkpoint import read_config
from msprof_runners.devices import Device
from msprof_runners.parallel import check_model, check_world
from msprof_runners.prompts import Batch, Prompt, batch_of
from msprof_runners.runner_settings import RunnerSettings
from pytest_msprof.errors import ConfigurationError, InvalidWorkload
from pytest_msprof.ids import new_id

if TYPE_CHECKING:
    from msprof_runners.generated import Generated
    from msprof_runners.graphs import Compiler
    from msprof_runners.profiling import Profiler

__all__ = ["ModelRunner"]

WARM_UP_STEPS = 2
"""Steps of a pass that only warms up: the prefill and one decode step."""


class ModelRunner(ABC):
    """Runs one model on one device.

    A subclass says how a step's inputs are made (`model_input_prepare`) and what becomes of its
    outputs (`model_output_process`), and may replace any other stage.
    """

    def __init__(self, runner_settings: RunnerSettings | Mapping[str, Any]) -> None:
        self.runner_settings = RunnerSettings.of(runner_settings)
        settings = self.runner_settings
        self.model_name = settings.model_name
        self.model_path = Path(settings.model_path)
        self.exe_mode = settings.exe_mode
        self.dtype = settings.model.dtype
        self.input_max_len = settings.data.input_max_len
        self.max_new_tokens = settings.data.max_new_tokens
        self.batch_size = settings.data.batch_size
        self.enable_profiler = settings.model.enable_profiler
        self.enable_online_split_weight = settings.model.enable_online_split_weight
        self.layout = check_world(settings.world_size, settings.parallel.to_dict())
        self.launch_id = new_id()
        """This load of the model: the unit of evidence in a comparison."""
        self.phases: dict[str, float] = {}
        """Seconds of what came before the first timed step, by metric name."""
        self.profile_path = Path(settings.model.profile_path)
        self.notes: list[str] = []
        """What a reader of the figures must know."""
        self.model: Any = None
        self.tokenizer: Any = None
        self.hf_config: Any = None
        self.quantization: str | None = None
        self.stop_tokens: frozenset[int] = frozenset()
        self.pad_token = 0
        self.compiler: Compiler | None = None
        self._cache: Any = None
        self._cache_batch = 0
        self._warm: set[int] = set()
        self._graph: Callable[..., Any] | None = None
        self.init_device()

    # -- device and model ---------------------------------------------------------------------

    def init_device(self) -> None:
        """Find the device and make it that of this process.

        Raises `DeviceUnavailable` where it is not there.
        """
        if self.runner_settings.world_size > 1:
            raise ConfigurationError(
                f"this runner has one process, but world_size is {self.runner_settings.world_size}"
            )
        self.device = Device.of(self.runner_settings.device)
        self.device.select()

    def init_model(self, model: Any = None, config: Any = None) -> Self:
        """Load the model, its tokenizer and what the mode needs, and return the runner.

        *model* is a class of transformers' kind and *config* its configuration; without them both are
        those of the checkpoint. Sizes that do not fit the model are refused before a weight is read.
        """
        content = read_config(self.model_path)
        check_model(content, self.layout)
        with self._phase("load_time"), self.device.guarding_memory(f"the model {self.model_name}"):
            self._init_config(content, config)
            if self.enable_online_split_weight:
                self._init_model_with_online_splited_weight(model, self.hf_config)
            else:
                self._init_model_with_offline_splited_weight(model, self.hf_config)
            self.scale_dtype_adapter()
            self.to_device()
            self.cast_format()
            self.device.synchronize()
        self.init_tokenizer()
        if self.exe_mode != "eager":
            self.graph_compile()
        return self

    def _init_config(self, content: Mapping[str, Any], config: Any) -> None:
        from msprof_runners.weights import load_config

        self.hf_config = config or load_config(self.model_path, content)
        if self.runner_settings.model.attn_implementation:
            self.hf_config._attn_implementation = self.runner_settings.model.attn_implementation  # noqa: SLF001 - transformers' own way
        self._verify_quantization()

    def _init_model_with_online_splited_weight(self, model: Any, config: Any) -> None:
        """Make the model from the original weights, of which a process reads its own part: with one, all."""
        self._load(model, config)

    def _init_model_with_offline_splited_weight(self, model: Any, config: Any) -> None:
        """Make the model from weights that `save_model` divided before: with one process, from undivided ones."""
        self._load(model, config)

    def _load(self, model: Any, config: Any) -> None:
        from msprof_runners.weights import architecture, load_whole, make_random

        cls = model or architecture(config)
        extra = {"runner_settings": self.runner_settings}
        if self.runner_settings.model.with_ckpt:
            self.model = load_whole(cls, self.model_path, config, dtype=self.dtype, **extra)
        else:
            seed, device = self.runner_settings.seed, self.device.name
            self.model = make_random(cls, config, dtype=self.dtype, seed=seed, device=device, **extra)

    def init_tokenizer(self) -> None:
        """Load the tokenizer; prompts are padded on the left, and cut at their end."""
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            self.model_path, padding_side="left", truncation_side="right"
        )
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        if ends is None:
            ends = self.tokenizer.eos_token_id
        self.stop_tokens = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self.pad_token = self.tokenizer.pad_token_id or 0

    def scale_dtype_adapter(self) -> None:  # noqa: B027 - a hook that most models leave empty
        """Bring the scales of a quantized model to the type its kernels want; nothing for others."""

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

    def graph_compile(self) -> None:
        """Make the decode step run as one graph; compiling itself happens in the first pass of each batch size.

        Raises `ConfigurationError` where the device does not have the mode.
        """
        from msprof_runners.graphs import compiler_for

        allowed = self.runner_settings.model.allow_mode_substitution
        self.compiler = compiler_for(self.exe_mode, self.device, substitute=allowed)
        if self.compiler.note:
            self.notes.append(self.compiler.note)
        self._graph = self.compiler.compile(self.model.__call__)

    def mark_inputs(self, model_inputs: Mapping[str, Any]) -> None:
        """Tell the compiler which inputs never change their shape; called in passes that warm up."""
        import torch

        for value in model_inputs.values():
            if isinstance(value, torch.Tensor):
                torch._dynamo.mark_static(value)  # noqa: SLF001 - its public name

    def save_model(self, folder: str | Path) -> None:
        """Write the model and its tokenizer to *folder*, from where a runner loads them again."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    # -- quantization -------------------------------------------------------------------------

    def _parse_quant_hf_config(self) -> dict[str, Any]:
        """Return the `quantization_config` of the checkpoint, empty where it is not quantized."""
        found = getattr(self.hf_config, "quantization_config", None) or getattr(
            self.hf_config, "compression_config", None
        )
        if found is None:
            return {}
        return dict(found if isinstance(found, dict) else found.to_dict())

    def _verify_quantization(self) -> None:
        """Raise `ConfigurationError` for a method that this device cannot run."""
        method = str(self._parse_quant_hf_config().get("quant_method", "")).lower().replace("_", "-")
        if method:
            raise ConfigurationError(
                f"quantization {method!r} of {self.model_path} is not supported on {self.device.kind} (supported: none)"
            )

    # -- generation ---------------------------------------------------------------------------

    def model_generate(self, prompts: str | Sequence[Prompt], warm_up: bool = False) -> Generated:  # noqa: FBT001, FBT002 - the guide's signature
        """Answer *prompts* as one batch, greedily, and return what was measured as a `Run`.

        The first batch of each size is preceded by passes that are not timed; compiling happens there.
        Raises `InvalidWorkload` for a batch of 0, and `OutOfMemory`.
        """
        from msprof_runners.generated import Generated
        from msprof_runners.generation import generate

        batch = self.encode(prompts)
        with self.device.guarding_memory(f"a batch of {len(batch)} prompts with {batch.width} tokens"):
            if not warm_up:
                self._warm_up(batch)
            passage = generate(self, batch, warm_up=warm_up)
            if self.enable_profiler and not warm_up:
                self._profile(batch, len(passage.step_ends))
        return Generated.by(self, batch, passage)

    def define_profiler(self, steps: int, name: str = "trace") -> AbstractContextManager[Profiler]:
        """Return what profiles a pass of *steps* steps, told of each by `step()`; its trace goes to `profile_path`."""
        from msprof_runners.profiling import profiling

        return profiling(self.device, steps, self.profile_path, name)

    def _profile(self, batch: Batch, steps: int) -> None:
        """Run *batch* again under the profiler; nothing of this pass is in any figure."""
        from msprof_runners.generation import generate

        name = f"{self.model_name}-{self.exe_mode}-batch{len(batch)}"
        with self.define_profiler(steps, name) as profiler:
            generate(self, batch, after_step=profiler.step)

    def prompts(self) -> list[Any]:
        """Return a batch of the size and kind that `data_config` says: preset, from a file, or synthetic."""
        from msprof_runners.prompt_sources import prompts_for

        special = frozenset(self.tokenizer.all_special_ids) | self.stop_tokens
        settings = self.runner_settings
        return prompts_for(settings.data, vocabulary=self.hf_config.vocab_size, special=special, seed=settings.seed)

    def encode(self, prompts: str | Sequence[Prompt]) -> Batch:
        """Turn prompts, texts or token ids, into a batch; raises `InvalidWorkload` where it does not fit."""
        if self.model is None:
            raise ConfigurationError("the runner has no model yet: call init_model() first")
        batch = batch_of(prompts, self.tokenizer, longest=self.input_max_len, pad_token=self.pad_token)
        if batch.width + self.max_new_tokens > (most := self.positions):
            raise InvalidWorkload(
                f"prompt and answer together may have {most} tokens, but a prompt has {batch.width} "
                f"and max_new_tokens is {self.max_new_tokens}"
            )
        return batch

    @property
    def positions(self) -> int:
        """Most tokens of prompt and answer together."""
        own = int(getattr(self.hf_config, "max_position_embeddings", 0) or 1 << 31)
        return min(own, self.runner_settings.data.max_position_embeddings or own)

    def begin(self, batch: Batch) -> dict[str, Any]:
        """Return what the first step starts from; each step's `model_output_process` brings it forward."""
        import torch

        from msprof_runners.cache import Masks

        device = self.model.device
        cache = self._cache_for(batch)
        cache.begin(batch.width, device)
        input_ids = torch.tensor(batch.padded, device=device)
        places = torch.arange(batch.width, device=device) - torch.tensor(batch.padding, device=device)[:, None]
        return {
            "input_ids": input_ids,
            "position_ids": places.clamp(min=0),
            "generate_ids": input_ids,
            "past_key_values": cache,
            "masks": Masks(batch.padding, batch.width, cache, self.model),
            "input_lens": batch.width,
            "is_prefill": True,
            "finished": torch.zeros(len(batch), dtype=torch.bool, device=device),
        }

    def _cache_for(self, batch: Batch) -> Any:
        """Return buffers for *batch*: those of the last one where they fit, since an allocation takes time."""
        from msprof_runners.cache import KeyValueCache

        static = self._graph is not None
        length = self.graph_length if static else batch.width + self.max_new_tokens
        if self._cache is None or (self._cache.length, self._cache_batch) != (length, len(batch)):
            self._cache, self._cache_batch = KeyValueCache(length, static=static), len(batch)
        return self._cache

    @property
    def graph_length(self) -> int:
        """Slots of each buffer in the graph modes: the settings' longest prompt and answer."""
        return min(self.input_max_len + self.max_new_tokens, self.positions)

    def get_jump_prepare(self, cnt: int, warm_up: bool, input_dict: Mapping[str, Any]) -> bool:  # noqa: FBT001 - the guide's signature
        """Say whether to stop after *cnt* steps; by default what `get_jump_flag` says."""
        return self.get_jump_flag(cnt, warm_up, input_dict)

    def get_jump_flag(self, cnt: int, warm_up: bool, input_dict: Mapping[str, Any]) -> bool:  # noqa: FBT001 - the guide's signature
        """Say whether to stop after *cnt* steps: enough tokens, or every answer has ended."""
        if cnt >= self.max_new_tokens or (warm_up and cnt >= WARM_UP_STEPS):
            return True
        return cnt > 0 and not self.runner_settings.data.ignore_eos and bool(input_dict["finished"].all())

    @abstractmethod
    def model_input_prepare(self, input_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the model for the next step."""

    def model_inference(self, model_inputs: dict[str, Any], *, is_prefill: bool = False, warm_up: bool = False) -> Any:
        """Run the model on one step's inputs; a decode step runs its graph where the mode has one."""
        if self._graph is None or is_prefill:
            return self.model(**model_inputs)
        if warm_up:
            self.mark_inputs(model_inputs)
        return self._graph(**model_inputs)

    @abstractmethod
    def model_output_process(self, model_inputs: dict[str, Any], outputs: Any, input_dict: dict[str, Any]) -> None:
        """Choose the next tokens, and bring *input_dict* forward to the next step."""

    def take_tokens(self, next_tokens: Any, input_dict: dict[str, Any]) -> None:
        """Add *next_tokens*, shape ``(batch,)``, to the answers, and make them the next step's inputs.

        An answer that has ended goes on with pad tokens, as those of transformers do.
        """
        import torch

        if not self.runner_settings.data.ignore_eos:
            next_tokens = torch.where(input_dict["finished"], self.pad_token, next_tokens)
            for stop in self.stop_tokens:
                input_dict["finished"] |= next_tokens == stop
        column = next_tokens[:, None]
        input_dict["past_key_values"].advance(input_dict["input_ids"].shape[1])
        input_dict["generate_ids"] = torch.cat((input_dict["generate_ids"], column), dim=-1)
        input_dict["input_ids"] = column
        input_dict["position_ids"] = input_dict["position_ids"][:, -1:] + 1
        input_dict["is_prefill"] = False

    # -- phases -------------------------------------------------------------------------------

    def _warm_up(self, batch: Batch) -> None:
        """Run *batch* for two tokens where its size is new; in a graph mode the first such pass compiles."""
        from msprof_runners.generation import generate

        if len(batch) in self._warm:
            return
        if self._graph is not None:
            with self._phase("compile_time"):
                generate(self, batch, warm_up=True)
        with self._phase("warmup_time"):
            for _ in range(self.runner_settings.model.warm_up):
                generate(self, batch, warm_up=True)
        self._warm.add(len(batch))

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Note how long the `with` takes; the last time of a phase counts."""
        start = time.perf_counter()
        yield
        self.phases[name] = time.perf_counter() - start

    def close(self) -> None:
        """Let go of model and memory."""
        self.model = self._graph = self._cache = None
        self._warm.clear()
        self.device.release_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
