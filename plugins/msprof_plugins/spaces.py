"""Search spaces for engines, made for a model and a machine: ranges with their sources, and what cannot work left out.

A suite takes one as it is, or takes over what fits: `SPACE = vllm_on_processors(Path(model), workload)`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

from msprof_plugins.model_memory import BLOCK, ModelMemory
from pytest_msprof import (
    Lengths,
    OptimizerConfigField,
    SearchSpace,
    Workload,
    choice,
    constant,
    floats,
    integers,
    steps,
)
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.results import Value

__all__ = [
    "MINDIE",
    "SOURCES",
    "mindie_on_devices",
    "sglang_on_devices",
    "transformers_serve",
    "vllm_on_devices",
    "vllm_on_processors",
]

GIB = 2**30
MOST_SEQUENCES = 1024
SPARE = 1.3
"""How far beyond the sequences that fit a bound goes: prompts share prefixes, answers end early."""
CPU_BLOCK = 128
"""vLLM's tokens of a KV block on processors."""

SOURCES = {
    "max_num_seqs": "vLLM 0.32 SchedulerConfig: at least 1, default 128 to 1024 by device; above: the memory model",
    "max_num_batched_tokens": "vLLM 0.32 SchedulerConfig: at least max_num_seqs; default 2048 to 16384 by device",
    "block_size": "vLLM 0.32: a multiple of 32 on processors (refused at start otherwise), 16 to 128 on accelerators",
    "kv_cache_space": "vLLM 0.32 VLLM_CPU_KVCACHE_SPACE: whole GiB from 1; above: the machine's memory",
    "omp_threads_bind": "vLLM 0.32 VLLM_CPU_OMP_THREADS_BIND: auto keeps a core for the server, nobind leaves all",
    "enforce_eager": "vLLM 0.32: no compilation, starts sooner and computes slower",
    "enable_prefix_caching": "vLLM 0.32: pays where prompts share their beginning",
    "stream_interval": "vLLM 0.32: tokens a chunk, at least 1",
    "gpu_memory_utilization": "vLLM 0.32: share of a device's memory, default 0.92; above 0.95 activations do not fit",
    "enable_chunked_prefill": "vLLM 0.32: without it a step must hold the longest prompt",
    "async_scheduling": "vLLM 0.32: schedules a step while the one before runs; forced off on processors",
    "tensor_parallel_size": "vLLM 0.32: divides the attention heads",
    "pipeline_parallel_size": "vLLM 0.32: stages of layers",
    "data_parallel_size": "vLLM 0.32: copies of the model",
    "enable_expert_parallel": "vLLM 0.32: spreads experts instead of slicing them; for mixtures of experts",
    "continuous_batching": "transformers 5.23 serve --continuous-batching: off by default",
    "num_blocks": "transformers 5.23 serve --cb-num-blocks: blocks of 256 tokens; below: one block a sequence",
    "batch_tokens": "transformers 5.23 serve --cb-max-batch-tokens: from 1, default 8192; 16 to 2048 ran",
    "max_running_requests": "SGLang 0.5.23 ServerArgs: no bound of its own; above: the memory model",
    "chunked_prefill_size": "SGLang 0.5.23: default 2048 to 16384 by device memory; a multiple of the page, -1 is off",
    "max_prefill_tokens": "SGLang 0.5.23: default 16384; never below the context length, whatever is set",
    "mem_fraction_static": "SGLang 0.5.23: share of a device for weights and KV cache; the rest holds activations",
    "schedule_policy": "SGLang 0.5.23: default fcfs; lpm and dfs-weight order by the shared prefix, so need its cache",
    "schedule_conservativeness": "SGLang 0.5.23: default 1.0; larger where requests are retracted, smaller fills it",
    "page_size": "SGLang 0.5.23: tokens of a KV page; the default depends on the attention backend",
    "disable_radix_cache": "SGLang 0.5.23: without it prompts share no prefix",
    "enable_mixed_chunk": "SGLang 0.5.23: prefill and decode in one batch; needs chunked prefill",
    "num_continuous_decode_steps": "SGLang 0.5.23: default 1; more steps raise throughput and time to first token",
    "tp_size": "SGLang 0.5.23: divides the attention heads; tp * pp * dp is the number of devices",
    "pp_size": "SGLang 0.5.23: stages of layers",
    "dp_size": "SGLang 0.5.23: copies of the model",
    "ep_size": "SGLang 0.5.23: divides tensor parallelism; for mixtures of experts",
    "dtype": "both engines; float32 changes the answers",
}
"""Where the range of each field comes from."""

CACHE_BLOCK = 256
"""Tokens of a block of `transformers serve`."""
MINDIE_BLOCK = 128
"""Tokens of a block of MindIE (cacheBlockSize)."""
MINDIE_SHARE = 0.8
"""What the original's `mem_coefficient` leaves of a device's memory."""


def vllm_on_processors(model: Path, workload: Workload, *, memory: int | None = None) -> SearchSpace:
    """Return the space of `vllm serve` on processors with *memory* bytes, the machine's where none are given.

    A cache that does not fit beside the weights, or does not hold one whole sequence, is left out.
    """
    needs, available = ModelMemory.of(model), memory or psutil.virtual_memory().total
    most = int((available - 2 * needs.weights) // GIB) - 2  # two gibibytes for the engine's four processes
    if most < 1:
        raise ConfigurationError(
            f"{model} with {needs.weights / GIB:.1f} GiB of weights leaves no KV cache in {available / GIB:.1f} GiB"
        )
    sequences = _most_sequences(needs, most * GIB, workload, block=CPU_BLOCK)
    whole = needs.positions * needs.kv_per_token
    return SearchSpace(
        integers("max_num_seqs", 1, sequences, log=True).marked(memory="more", unset=128),
        integers("max_num_batched_tokens", 64, max(2 * needs.positions, 128), log=True).marked(
            memory="more", unset=2048
        ),
        steps("block_size", 32, 256, 32).marked(unset=128),
        integers("kv_cache_space", 1, most, log=True).marked(memory="more", unset=_set("VLLM_CPU_KVCACHE_SPACE", "1"))
        if most > 1
        else constant("kv_cache_space", 1),
        choice("omp_threads_bind", ["auto", "nobind"]).marked(unset=_set("VLLM_CPU_OMP_THREADS_BIND", "auto")),
        choice("enforce_eager", [False, True]).marked(unset=False),
        choice("enable_prefix_caching", [True, False]).marked(unset=True),
        integers("stream_interval", 1, 16, log=True).marked(unset=1),
        where=[
            "max_num_batched_tokens >= max_num_seqs",
            f"kv_cache_space * {GIB} >= {whole}",
        ],
        left_out=[
            *_too_many("max_num_seqs", sequences, most * GIB),
            f"kv_cache_space above {most}: {available / GIB:.1f} GiB hold the weights, too",
            *([f"kv_cache_space below {-(-whole // GIB)}: that holds no whole sequence"] if whole > GIB else []),
        ],
    )


def vllm_on_devices(
    model: Path, workload: Workload, *, devices: int, memory: int, experts: bool = False
) -> SearchSpace:
    """Return the space of `vllm serve` on *devices* accelerators of *memory* bytes each.

    All of them are used: the sizes of tensor, pipeline and data parallelism multiply to their number.
    A split whose share of the weights does not fit a device is left out.
    """
    needs = ModelMemory.of(model)
    cache = devices * memory * 0.95 - needs.weights
    if cache <= 0:
        raise ConfigurationError(_too_large(model, needs, devices, memory))
    sizes = [size for size in range(1, devices + 1) if devices % size == 0]
    sequences, (seqs, tokens) = _most_sequences(needs, cache, workload), _of_vllm(memory)
    share = floats("gpu_memory_utilization", 0.8, 0.95, position="--gpu-memory-utilization")
    return SearchSpace(
        integers("max_num_seqs", 1, sequences, log=True).marked(memory="more", unset=seqs),
        integers("max_num_batched_tokens", 512, max(32768, 2 * needs.positions), log=True).marked(
            memory="more", unset=tokens
        ),
        share.marked(memory="either", unset=0.92),
        choice("block_size", [16, 32, 64, 128]),
        choice("enable_chunked_prefill", [True, False], position="--enable-chunked-prefill").marked(unset=True),
        choice("enable_prefix_caching", [True, False]).marked(unset=True),
        choice("async_scheduling", [True, False]),
        _parallel("tensor_parallel_size", [size for size in sizes if needs.heads % size == 0]),
        _parallel("pipeline_parallel_size", sizes),
        _parallel("data_parallel_size", sizes),
        *([_experts()] if experts else []),
        where=[
            "max_num_batched_tokens >= max_num_seqs",
            f"enable_chunked_prefill or max_num_batched_tokens >= {needs.positions}",
            f"tensor_parallel_size * pipeline_parallel_size * data_parallel_size == {devices}",
            f"{needs.weights} / (tensor_parallel_size * pipeline_parallel_size) < gpu_memory_utilization * {memory}",
        ],
        left_out=[*_too_many("max_num_seqs", sequences, cache), *_too_few(needs, sizes, memory * 0.95)],
    )


def sglang_on_devices(
    model: Path, workload: Workload, *, devices: int, memory: int, experts: bool = False
) -> SearchSpace:
    """Return the space of `sglang.launch_server` on *devices* accelerators of *memory* bytes each.

    Every field is an option of its own name, for a plugin that operates SGLang. Its flags have no
    negation: they are set, or left out (an empty text). What is left out of vLLM's space is left out here.
    """
    needs = ModelMemory.of(model)
    cache = devices * memory * 0.92 - needs.weights
    if cache <= 0:
        raise ConfigurationError(_too_large(model, needs, devices, memory))
    sizes = [size for size in range(1, devices + 1) if devices % size == 0]
    sequences = _most_sequences(needs, cache, workload, block=1)
    fields = [
        integers("max_running_requests", 1, sequences, log=True),
        choice("chunked_prefill_size", [512, 1024, 2048, 4096, 8192, 16384]).marked(memory="more"),
        integers("max_prefill_tokens", 2048, 65536, log=True).marked(memory="more", unset=16384),
        floats("mem_fraction_static", 0.7, 0.92).marked(memory="either"),
        choice("schedule_policy", ["fcfs", "lpm", "dfs-weight"]).marked(unset="fcfs"),
        floats("schedule_conservativeness", 0.3, 1.3).marked(unset=1.0),
        choice("page_size", [1, 16, 32, 64]),
        choice("disable_radix_cache", ["", True]).marked(unset=""),
        choice("enable_mixed_chunk", ["", True]).marked(unset=""),
        integers("num_continuous_decode_steps", 1, 8, log=True).marked(unset=1),
        integers("stream_interval", 1, 16, log=True).marked(unset=1),
        *(_parallel(name, sizes) for name in ("pp_size", "dp_size")),
        _parallel("tp_size", [size for size in sizes if needs.heads % size == 0]),
        *([_parallel("ep_size", sizes)] if experts else []),
    ]
    return SearchSpace(
        *(entry.model_copy(update={"config_position": f"--{entry.name.replace('_', '-')}"}) for entry in fields),
        where=[
            "not disable_radix_cache or schedule_policy == 'fcfs'",
            f"tp_size * pp_size * dp_size == {devices}",
            f"{needs.weights} / (tp_size * pp_size) < mem_fraction_static * {memory}",
            *(["tp_size % ep_size == 0"] if experts else []),
        ],
        left_out=[*_too_many("max_running_requests", sequences, cache), *_too_few(needs, sizes, memory * 0.92)],
    )


def transformers_serve(model: Path, workload: Workload, *, memory: int | None = None) -> SearchSpace:
    """Return the space of `transformers serve`, with and without continuous batching.

    A cache that does not fit beside the weights is left out: the engine would fail at its first request.
    """
    needs, available = ModelMemory.of(model), memory or psutil.virtual_memory().total
    fit = int((available - 2 * needs.weights) * 0.5) // (needs.kv_per_token * CACHE_BLOCK)
    fewest = math.ceil(_shortest(workload.input_tokens) / CACHE_BLOCK)
    most = min(fit, MOST_SEQUENCES * fewest)
    if most <= fewest:
        raise ConfigurationError(f"{model} leaves no KV cache for one sequence in {available / GIB:.1f} GiB")
    return SearchSpace(
        choice("continuous_batching", [False, True]),
        integers("num_blocks", fewest, most, log=True, when="continuous_batching").marked(memory="more"),
        integers("batch_tokens", 16, 2048, log=True, when="continuous_batching").marked(memory="more"),
        default={"continuous_batching": False},
        left_out=[f"num_blocks above {most}: no room in {available / GIB:.1f} GiB"] if most == fit else [],
    )


def mindie_on_devices(model: Path, workload: Workload, *, devices: int, memory: int) -> SearchSpace:
    """Return the space of MindIE's config.json on *devices* accelerators of *memory* bytes, one tensor-parallel group.

    `maxBatchSize` is narrowed as the original's theory-guided bound does it: at least the sequences
    that the cache holds whole, at most 1.3 times those that it holds of the prompts alone, where the
    cache has 80 % of a device less its share of the weights.
    """
    needs = ModelMemory.of(model)
    cache = devices * memory * MINDIE_SHARE - needs.weights
    if cache <= 0:
        raise ConfigurationError(_too_large(model, needs, devices, memory))
    tokens = _shortest(workload.input_tokens)
    least = needs.sequences(cache, tokens + _shortest(workload.output_tokens), block=MINDIE_BLOCK)
    most = math.ceil(needs.sequences(cache, tokens, block=MINDIE_BLOCK) * SPARE)
    batch, *others = MINDIE
    low, high = min(max(least, int(batch.min)), int(batch.max)), min(max(most, int(batch.min)), int(batch.max))
    if low >= high:
        low = int(batch.min)
    return SearchSpace(
        batch.model_copy(update={"min": float(low), "max": float(high)}).marked(memory="more"),
        *others,
        left_out=[
            *([f"{batch.name} below {low}: {_holds(cache)} as many whole sequences"] if low > batch.min else []),
            *([f"{batch.name} above {high}: {_holds(cache)} fewer prompts"] if high < batch.max else []),
        ],
    )


def _too_large(model: Path, needs: ModelMemory, devices: int, memory: int) -> str:
    return f"{model} with {needs.weights / GIB:.1f} GiB of weights does not fit {devices} × {memory / GIB:.1f} GiB"


def _most_sequences(needs: ModelMemory, cache: float, workload: Workload, *, block: int = BLOCK) -> int:
    """Return the bound of sequences: beyond what the cache holds of the shortest prompts, nothing changes any more."""
    held = needs.sequences(cache, _shortest(workload.input_tokens), block=block)
    return min(max(int(held * SPARE), 2), MOST_SEQUENCES)


def _too_many(name: str, most: int, cache: float) -> list[str]:
    """Say which sequences the memory model cut off, nothing where the bound has another reason."""
    return [] if most >= MOST_SEQUENCES else [f"{name} above {most}: {_holds(cache)} fewer of the shortest prompts"]


def _too_few(needs: ModelMemory, sizes: list[int], room: float) -> list[str]:
    """Say which splits leave a device more of the weights than it has *room* for."""
    if not (small := [size for size in sizes if needs.weights / size >= room]):
        return []
    devices = "1 device" if small[-1] == 1 else f"up to {small[-1]} devices"
    return [f"copies of the model on {devices}: {needs.weights / GIB:.1f} GiB of weights do not fit"]


def _holds(cache: float) -> str:
    return f"a KV cache of {cache / GIB:.1f} GiB holds"


def _shortest(tokens: int | Lengths) -> int:
    if isinstance(tokens, int):
        return tokens
    return min((found.low for found in tokens.bins), default=tokens.low)


def _parallel(name: str, sizes: list[int]) -> OptimizerConfigField:
    position = f"--{name.replace('_', '-')}"
    if len(sizes) == 1:
        return constant(name, sizes[0], position=position)
    return choice(name, sizes, position=position).marked(memory="either", unset=1)


def _experts() -> OptimizerConfigField:
    return choice("enable_expert_parallel", [False, True], position="--enable-expert-parallel").marked(unset=False)


def _of_vllm(memory: int) -> tuple[int | None, int | None]:
    """Return the sequences and tokens of a batch that `vllm serve` takes by itself on devices of *memory* bytes.

    None where that depends on the model of the device, too (vLLM 0.32, `EngineArgs.get_batch_defaults`).
    """
    if memory >= 160 * GIB:
        return 1024, 16384
    return (None, None) if memory >= 70 * GIB else (256, 2048)  # an A100 takes less than an H100


def _set(variable: str, otherwise: str) -> Value:
    """Return what the engine will find in its environment, a number where it is one."""
    text = os.environ.get(variable, otherwise)
    return int(text) if text.isdecimal() else text


def _schedule(
    name: str, key: str, low: float, high: float, dtype: str, parameter: object = None
) -> OptimizerConfigField:
    position = f"BackendConfig.ScheduleConfig.{key}"
    return OptimizerConfigField(
        name=name, config_position=position, min=low, max=high, dtype=dtype, dtype_param=parameter
    )


MINDIE: tuple[OptimizerConfigField, ...] = (
    _schedule("max_batch_size", "maxBatchSize", 10, 1000, "int"),
    _schedule("max_prefill_batch_size", "maxPrefillBatchSize", 0.1, 0.7, "ratio", "max_batch_size"),
    _schedule("prefill_time_ms_per_req", "prefillTimeMsPerReq", 0, 1000, "range", 10),
    _schedule("decode_time_ms_per_req", "decodeTimeMsPerReq", 0, 1000, "range", 10),
    _schedule("support_select_batch", "supportSelectBatch", 0, 1, "bool"),
    _schedule("max_queue_deloy_mircroseconds", "maxQueueDelayMicroseconds", 500, 1_000_000, "range", 100),
    _schedule("max_preempt_count", "maxPreemptCount", 0, 1, "ratio", "max_batch_size"),
)
"""Fields of MindIE's config.json, for plugins that operate it: names, positions and bounds that the original ships."""
