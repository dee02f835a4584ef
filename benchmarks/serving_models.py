"""What a configuration of a serving engine comes to under a load, from the field's published models.

Each function takes a configuration and `load`, the clients of a closed loop, and returns token/s and,
for each limit, metric over limit (at most 1 is met); it raises `MemoryError` where the service would
not start. They share what measurements of engines agree on. Throughput rises with the batch and
saturates, since a step reads all weights whatever its batch (Pope et al., Efficiently Scaling
Transformer Inference, 2023); a limit on sequences does nothing once it exceeds the load; chunks that
are too small waste steps and chunks that are too large delay tokens (Agrawal et al., Sarathi-Serve,
2024); a cache that is too small preempts (Kwon et al., PagedAttention, 2023); who waits for a place
waits for its first token (Little's law). Effects are monotone or saturate, and the edges are cliffs.
"""

from __future__ import annotations

import math

from problems import Found

__all__ = ["edge", "limit_of", "parallel", "scheduling", "triton"]

MS = 1e-3
DEVICES = 8
BANDWIDTH, COMPUTE, MEMORY = 0.7 * 3.35e12, 0.45 * 989e12, 72e9
"""One H100: bytes a second and operations a second as far as kernels reach them, bytes left after the runtime."""


def limit_of(limit: int, load: float) -> float:
    """Return how many requests run at once, rounded off a little: requests end one by one."""
    return (limit**-8 + load**-8) ** -0.125


def scheduling(*, load: int, seqs: int, tokens: int, dtype: str, chunked: bool) -> Found:
    """Return one device that batches a chat of 800 tokens in and 150 out (a smooth surface).

    A step costs the weights, each sequence and each token of a prompt (Yu et al., Orca, 2022). Whole
    prompts stall all who decode; chunks share their steps, up to the budget of tokens.
    """
    prompt, answer = 800, 150
    if seqs * 4 + tokens > 9000 or (not chunked and tokens < prompt):
        raise MemoryError
    weights = {"bf16": 8.0, "fp32": 16.0, "fp8": 5.0}[dtype]
    math_of = {"bf16": 1.0, "fp32": 2.4, "fp8": 0.8}[dtype]
    batch = limit_of(seqs, load)
    token = 0.022 * math_of
    if chunked:
        batch = limit_of(max(1, round(tokens * answer / (answer + prompt))), batch)
        share = batch * prompt / answer
        step = weights + 0.07 * batch + token * share + 0.25 * share / tokens
        first = step * (1 + prompt / max(tokens - batch, 32)) + 0.5 * token * min(tokens, load * prompt / 8)
        stalled = step + 0.15 * token * tokens * min(1.0, batch / 40)
    else:
        together = max(1.0, min(tokens / prompt, batch / 12))
        prefills = batch / answer / together
        step = weights + 0.07 * batch + prefills * (weights + token * prompt * together)
        first = step + weights + token * prompt * together
        stalled = step + token * prompt * together * 0.12
    finish = answer * step + first
    waits = max(0.0, load - batch) / batch * finish
    return batch * answer / (finish * MS), ((first + waits) * MS / 2.0, stalled * MS / 0.060)


def parallel(*, load: int, tp: int, pp: int, dtype: str, kv: str, seqs: int, tokens: int, steps: int) -> Found:
    """Return a model of 70 billion weights on eight devices: tensor, pipeline and data parallelism (interactions).

    Communication of tensor and latency of pipeline parallelism after Narayanan et al., Efficient
    Large-Scale Language Model Training on GPU Clusters, 2021; the roofline of a step after Pope et al.,
    2023; several steps a scheduling as in vLLM's `num_scheduler_steps`, which delays what is new.
    """
    devices, prompt, answer = tp * pp, 2000, 250
    if devices > DEVICES:
        raise MemoryError
    width = {"bf16": 2.0, "fp8": 1.0, "int4": 0.55}[dtype]
    weights, held = 70e9 * width, 327e3 * (0.5 if kv == "fp8" else 1.0) * (prompt + answer)
    room = devices * MEMORY - weights - tokens * devices * 1.2e5
    if room < 4 * held:
        raise MemoryError
    replicas = DEVICES // devices
    fits = room / held
    wanted = limit_of(seqs, load / replicas)
    batch = limit_of(max(1, round(fits)), wanted)
    again = 1 + 0.8 * max(0.0, wanted / fits - 1)
    speed = COMPUTE * {"bf16": 1.0, "fp8": 1.4, "int4": 0.8}[dtype] * devices
    read = (weights + batch * held) / (BANDWIDTH * devices)
    prefill = 2 * 70e9 * prompt / speed * (1 + 250 / tokens)
    talk = 160 * (12e-6 * math.log2(tp) + batch * 16384 / 250e9) if tp > 1 else 0.0
    stages = 1 + 0.12 * (pp - 1)
    step = max(read, 2 * 70e9 * batch / speed) * stages + talk + 4e-3 / steps
    paced = step + again * batch / answer * prefill
    first = prefill * stages * pp**0.5 + steps * paced * 0.6 + 2 * tokens / prompt * prefill * min(1.0, batch / 64)
    finish = answer * paced + first
    waits = max(0.0, load / replicas - batch) / batch * finish
    return replicas * batch * answer / finish, ((first + waits) / 4.0, (paced + 0.1 * prefill) / 0.110)


def edge(*, load: int, memory: float, seqs: int, tokens: int, blocks: int, eager: bool, kv: str) -> Found:
    """Return a device whose cache is what memory leaves, best close to where it does not start (an edge).

    The fraction of memory, the peak of a prefill and the captured graphs share one device, as in vLLM's
    profiling run; an over-subscribed cache preempts and computes again (Kwon et al., 2023). Blocks waste
    half a block a request when large, and cost look-ups when small.
    """
    prompt, answer = 900, 200
    graphs = 0.0 if eager else 1.2 + 0.008 * seqs
    peak = 1.0 + tokens / 1400 + 0.008 * seqs
    cache = (80 * memory - 48 - peak) * (2.0 if kv == "fp8" else 1.0)
    if 80 * memory + graphs + 0.5 * peak > 78 or cache < 4:
        raise MemoryError
    fits = cache * 1e9 / (400e3 * (prompt + answer / 2 + blocks / 2))
    wanted = limit_of(seqs, load)
    batch = limit_of(max(1, round(1.15 * fits)), wanted)
    again = max(0.0, wanted / fits - 1)
    step = 13 + 0.2 * batch * (1.04 if kv == "fp8" else 1.0) + 40 / blocks * batch / 64 + (7 if eager else 0)
    prefill = 0.03 * prompt * (1 + 180 / tokens)
    paced = step + (1 + 0.6 * min(again, 3)) * batch / answer * prefill
    first = prefill * (1 + 0.5 * batch / answer) + paced + 0.3 * 0.03 * tokens * min(1.0, batch / 48)
    finish = answer * paced + first
    waits = max(0.0, load - batch) / batch * finish
    return batch * answer / (finish * MS), ((first + waits) * MS / 3.0, (paced + 0.06 * prefill) * MS / 0.100)


def triton(*, load: int, instances: int, batch: int, delay: float, pinned: bool, arena: str) -> Found:
    """Return Triton's dynamic batching over instances that share a device.

    A batch leaves when it is full or the delay is over (NVIDIA, Triton Inference Server, "Dynamic
    Batcher"); a second instance hides the copies of the first, further ones contend. What waits is what
    the instances do not hold.
    """
    if instances * (1.3 + 0.11 * batch * (1.5 if arena == "grow" else 1.0)) > 24:
        raise MemoryError
    fixed = (2.0 if pinned else 2.6) * {"grow": 1.06, "fixed": 1.0, "none": 1.12}[arena]
    arriving = load / instances
    filled = limit_of(batch, max(1.0, arriving * (0.55 + 0.45 * (1 - math.exp(-delay / 3000)))))
    shared = 1 + 0.55 * (instances - 1) ** 1.15
    service = (fixed * 0.5 + (fixed * 0.5 + 0.2 * filled) * shared) if instances > 1 else fixed + 0.2 * filled
    waited = delay / 1000 * max(0.0, 1 - filled / batch) * 0.7
    turn = service + waited
    rate = load / max(turn + 0.3, load / (instances * filled) * turn)
    latency = load / rate * (1.15 + 0.02 * instances)
    return rate * 1000, (latency / 45.0,)
