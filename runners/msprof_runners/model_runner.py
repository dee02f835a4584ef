"""ModelRunner: loads a model, runs batches of prompts through it, and measures every step.

Every stage is a method of its own that a subclass may replace; names and meanings are those of the
guide this class follows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from msprof_runners.loading_stages import LoadingStages, phase
from msprof_runners.prompts import Batch, Prompt, batch_of
from pytest_msprof.errors import ConfigurationError, InvalidWorkload, OutOfMemory

if TYPE_CHECKING:
    from msprof_runners.generated import Generated
    from msprof_runners.profiling import Profiler
    from msprof_runners.serving.rows import Rows
    from msprof_runners.serving.served import Served

__all__ = ["ModelRunner"]

WARM_UP_STEPS = 2
"""Steps of a pass that only warms up: the prefill and one decode step."""


class ModelRunner(LoadingStages, ABC):
    """Runs one model on one device.

    A subclass says how a step's inputs are made (`model_input_prepare`) and what becomes of its
    outputs (`model_output_process`), and may replace any other stage.
    """

    rows: Rows[Any]
    """The batch of a server, once `begin_serving` made it."""

    def model_generate(self, prompts: str | Sequence[Prompt], warm_up: bool = False) -> Generated:  # noqa: FBT001, FBT002 - the guide's signature
        """Answer *prompts* as one batch, greedily, and return what was measured as a `Run`.

        The first batch of each size is preceded by passes that are not timed; compiling happens there.
        Raises `InvalidWorkload` for a batch of 0, and `OutOfMemory`.
        """
        from msprof_runners.generated import Generated
        from msprof_runners.generation import generate

        batch = self.encode(prompts)
        try:
            with self.device.guarding_memory(f"a batch of {len(batch)} prompts with {batch.width} tokens"):
                if not warm_up:
                    self._warm_up(batch)
                passage = generate(self, batch, warm_up=warm_up)
                if self.enable_profiler and not warm_up:
                    self._profile(batch, len(passage.step_ends))
        except OutOfMemory:
            self._cache = None  # a smaller batch may fit where its buffers are gone
            raise
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
        is_chat = self.runner_settings.model.tokenizer_mode == "chat"
        batch = batch_of(prompts, self.tokenizer, longest=self.input_max_len, pad_token=self.pad_token, is_chat=is_chat)
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

    def own_part(self, batch: Batch) -> Batch:
        """Return what this process answers of *batch*: all, or an equal part where `attn_dp_size` is above 1."""
        return batch.part(self.layout.attn_dp_size, self.world.rank // self.layout.attn_tp_size)

    def of_all(self, answers: Any, batch: Batch) -> Any:
        """Return the answers to the whole *batch*; *answers*, shape ``(requests, tokens)``, are this process's."""
        if self.counterparts is None:
            return answers
        from msprof_runners.exchange import gathered

        return gathered(answers, self.counterparts, self.layout.attn_dp_size)[: len(batch)]

    def begin(self, batch: Batch, cache: Any = None) -> dict[str, Any]:
        """Return what the first step starts from; each step's `model_output_process` brings it forward.

        Keys and values go to *cache*, or to the runner's own.
        """
        import torch

        from msprof_runners.cache import Masks

        device = self.model.device
        if cache is None:
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
        if cnt == 0 or self.runner_settings.data.ignore_eos:
            return False
        finished = input_dict["finished"].all()
        return bool(finished) if self.counterparts is None else self.world.agrees(finished)

    @abstractmethod
    def model_input_prepare(self, input_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the model for the next step."""

    def model_inference(self, model_inputs: dict[str, Any], *, is_prefill: bool = False, warm_up: bool = False) -> Any:
        """Run the model on one step's inputs; a decode step runs its graph where the mode has one."""
        if self._graph is None or is_prefill:
            return self.forward(**model_inputs)
        if warm_up:
            self.mark_inputs(model_inputs)
        return self._graph(**model_inputs)

    def mark_inputs(self, model_inputs: Mapping[str, Any]) -> None:
        """Tell the compiler which inputs never change their shape; called in passes that warm up."""
        import torch

        for value in model_inputs.values():
            if isinstance(value, torch.Tensor):
                torch._dynamo.mark_static(value)  # noqa: SLF001 - its public name

    @abstractmethod
    def model_output_process(self, model_inputs: dict[str, Any], outputs: Any, input_dict: dict[str, Any]) -> None:
        """Choose the next tokens, and bring *input_dict* forward to the next step."""

    def choose_tokens(self, logits: Any, input_dict: Mapping[str, Any]) -> Any:
        """Return the next token of each request by *logits*, shape ``(batch, words)``.

        The likeliest one; behind an endpoint the one that each request's temperature and seed say.
        """
        choose = input_dict.get("choose")
        return logits.argmax(dim=-1) if choose is None else choose(logits)

    def begin_serving(self, *, most: int, longest: int | None = None) -> Served:
        """Make `rows`, in which a server generates for *most* requests at once, and say what it must know.

        A prompt and its answer have at most *longest* tokens together; by default as many as the model takes.
        """
        from msprof_runners.serving.rows import Rows
        from msprof_runners.serving.served import Served

        limit = self.positions if self._graph is None else self.graph_length
        limit = min(longest or limit, limit)
        self.rows = Rows(self, most=most, longest=limit, static=self._graph is not None)
        return Served(self.tokenizer, self.stop_tokens, self.pad_token, limit)

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

    def _warm_up(self, batch: Batch) -> None:
        """Run *batch* for two tokens where its size is new; in a graph mode the first such pass compiles.

        A graph may belong to its buffers, as a captured one does: where they are new, it is warmed up again.
        """
        from msprof_runners.generation import generate

        is_kept = self._graph is None or (self._cache and self._cache_batch == len(self.own_part(batch)))
        if len(batch) in self.warmed and is_kept:
            return
        took: dict[str, float] = {}
        if self._graph is not None:
            with phase(took, "compile_time"):
                generate(self, batch, warm_up=True)
        with phase(took, "warmup_time"):
            for _ in range(self.runner_settings.model.warm_up):
                generate(self, batch, warm_up=True)
        self.warmed.setdefault(len(batch), took)
