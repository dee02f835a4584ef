"""How fast a ModelRunner is beside `transformers.generate`, on the same weights.

    .engines/runners/bin/python benchmarks/runner.py [--models tiny-qwen2,50m] [--peers dynamic,static]

Both answer the same prompts with the same number of tokens in the same type, with the same threads and
the same attention, in turn, round after round, after a warm-up of each. What is shown is the median of
the ratios inside each round with their smallest and largest, of elapsed and of processor time, since
absolute figures depend on the machine and on who else uses it. Decode time of `generate` is that of a whole
answer without that of an answer of one token. `dynamic` is `generate` as it is; `static` is its own
compiled static cache. Models are tiny ones, folders, or shapes with random weights. The floor is the time in which the
device can read every weight once, from the bandwidth of a large copy in the same process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "runners"))

from msprof_runners import HuggingFaceRunner
from pytest_msprof.tiny_models import MODELS, make_model

SHAPES = {
    "50m": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 8},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}
"""Llamas of random weights; the smallest has a vocabulary and key-value heads to its size."""
SMALL = {"num_key_value_heads": 4, "vocab_size": 16000}
LARGE = {"num_key_value_heads": 8, "vocab_size": 32000}
COPIES = 20


class Took(NamedTuple):
    """Seconds of one answer."""

    prefill: float
    decode: float
    prefill_cpu: float
    decode_cpu: float


class Answer(NamedTuple):
    """What one contender did in one round."""

    took: Took
    tokens: list[list[int]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="tiny-qwen2,50m", help=f"of {', '.join([*MODELS, *SHAPES])}, or folders")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="", help="default: float32 on a processor, bfloat16 elsewhere")
    parser.add_argument("--modes", default="eager,ge_graph")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--peers", default="dynamic", help="caches of transformers.generate: dynamic, static")
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    with tempfile.TemporaryDirectory() as scratch:
        for model in options.models.split(","):
            folder = _made(Path(scratch), model)
            for mode in options.modes.split(","):
                with HuggingFaceRunner(_settings(options, folder, model, mode)).init_model() as runner:
                    measure(runner, model, options)


def measure(runner: HuggingFaceRunner, model: str, options: argparse.Namespace) -> None:
    """Measure one model in one mode, and print a line for each batch size and peer."""
    import torch

    peers = list(filter(None, options.peers.split(",")))
    stock = _stock(runner) if peers else None
    attention = runner.model.config._attn_implementation  # noqa: SLF001 - transformers has no other name
    threads = f"{torch.get_num_threads()} threads, " if runner.device.kind == "cpu" else ""
    print(
        f"{model}, {runner.exe_mode}: {options.dtype}, {attention}, {threads}{options.input} + {options.output} tokens"
    )
    for batch in map(int, options.batches.split(",")):
        prompts = _prompts(runner, batch, options)
        contenders: dict[str, Callable[[], Answer]] = {"runner": lambda prompts=prompts: by_runner(runner, prompts)}  # type: ignore[misc]
        for peer in peers:
            contenders[peer] = lambda prompts=prompts, peer=peer: by_transformers(  # type: ignore[misc]
                stock, runner, prompts, options.output, peer
            )
        for contender in contenders.values():
            contender()
        rounds = [{name: contender() for name, contender in contenders.items()} for _ in range(options.rounds)]
        for line in _lines(rounds, batch, options, _floor(runner)):
            print(line, flush=True)


def by_runner(runner: HuggingFaceRunner, prompts: list[list[int]]) -> Answer:
    """Return what the runner's own steps took."""
    from msprof_runners.generation import generate

    if len(prompts) not in runner.warmed:
        runner.model_generate(prompts)
    processor: list[float] = []

    def clock() -> float:
        processor.append(time.process_time())
        return time.perf_counter()

    passage = generate(runner, runner.encode(prompts), clock=clock)
    first, *rest = [end - start for start, end in pairwise(processor)]
    took = Took(passage.prefill, float(passage.steps.sum()), first, sum(rest))
    return Answer(took, [list(answer) for answer in passage.answers])


def by_transformers(stock: Any, runner: HuggingFaceRunner, prompts: list[list[int]], length: int, cache: str) -> Answer:
    """Return what `generate` takes on *stock*, the same model untouched."""
    first, whole = (_generate(stock, runner, prompts, tokens, cache) for tokens in (1, length))
    decode, decode_cpu = (whole[at] - first[at] for at in (0, 1))
    return Answer(Took(first[0], decode, first[1], decode_cpu), whole[2])


def _generate(
    stock: Any, runner: HuggingFaceRunner, prompts: list[list[int]], length: int, cache: str
) -> tuple[float, float, list[list[int]]]:
    import torch
    from transformers import CompileConfig

    given = torch.tensor(prompts, device=stock.device)
    compiled = CompileConfig(fullgraph=True, mode="default")
    compiled._compile_all_devices = True  # noqa: SLF001 - otherwise transformers compiles on accelerators only
    own = {"cache_implementation": "static", "compile_config": compiled} if cache == "static" else {}
    runner.device.synchronize()
    start, processor = time.perf_counter(), time.process_time()
    found = stock.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        pad_token_id=runner.pad_token,
        **own,
    )
    runner.device.synchronize()
    took = time.perf_counter() - start, time.process_time() - processor
    return (*took, found[:, given.shape[1] :].tolist())


def _lines(rounds: list[dict[str, Answer]], batch: int, options: argparse.Namespace, floor: float) -> Iterator[str]:
    """Yield what the runner did, and its ratio to each peer."""
    own = [found["runner"].took for found in rounds]
    decode = batch * (options.output - 1) / statistics.median(took.decode for took in own)
    prefill = batch * options.input / statistics.median(took.prefill for took in own)
    yield (
        f"  batch {batch}: decode {decode:,.1f} tok/s ({floor * decode / batch:.0%} of the floor), "
        f"prefill {prefill:,.1f} tok/s"
    )
    for peer in (name for name in rounds[0] if name != "runner"):
        equal = sum(
            one == other
            for mine, theirs in zip(rounds[0]["runner"].tokens, rounds[0][peer].tokens, strict=True)
            for one, other in zip(mine, theirs, strict=True)
        )
        told = ", ".join(f"{what} {_ratio(rounds, peer, what)}" for what in ("decode", "prefill"))
        yield f"    to generate, {peer} cache: {told}; {equal} of {batch * options.output} tokens equal"


def _ratio(rounds: list[dict[str, Answer]], peer: str, what: str) -> str:
    def ratios(field: str) -> list[float]:
        return [getattr(found[peer].took, field) / getattr(found["runner"].took, field) for found in rounds]

    elapsed, processor = ratios(what), ratios(f"{what}_cpu")
    spread = f"{min(elapsed):.2f} to {max(elapsed):.2f}"
    return f"{statistics.median(elapsed):.2f}× ({spread}; processor {statistics.median(processor):.2f}×)"


def _floor(runner: HuggingFaceRunner) -> float:
    """Return the seconds in which the device reads every weight of a decode step once."""
    import torch

    weights = runner.model.state_dict()
    embeddings = 0 if runner.hf_config.tie_word_embeddings else runner.model.get_input_embeddings().weight.nbytes
    tied = runner.model.lm_head.weight.nbytes if runner.hf_config.tie_word_embeddings else 0
    size = 1 << 30 if runner.device.kind != "cpu" else 1 << 27
    source = torch.ones(size, dtype=torch.uint8, device=runner.model.device)
    target = torch.empty_like(source)
    took = []
    for _ in range(COPIES):
        runner.device.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        runner.device.synchronize()
        took.append(time.perf_counter() - start)
    return float(sum(value.nbytes for value in weights.values()) - embeddings - tied) / (2 * size / min(took))


def _stock(runner: HuggingFaceRunner) -> Any:
    """Return the runner's model as transformers makes it, with the same weights."""
    import transformers

    architecture = getattr(transformers, runner.hf_config.architectures[0])
    model = architecture(runner.hf_config).to(runner.model.dtype).to(runner.model.device).eval()
    model.load_state_dict(runner.model.state_dict())
    model.generation_config = runner.model.generation_config
    return model


def _prompts(runner: HuggingFaceRunner, batch: int, options: argparse.Namespace) -> list[list[int]]:
    from msprof_runners.prompt_sources import synthetic_prompts

    special = frozenset(runner.tokenizer.all_special_ids)
    return synthetic_prompts(batch, options.input, vocabulary=runner.tokenizer.vocab_size, special=special)


def _settings(options: argparse.Namespace, folder: Path, model: str, mode: str) -> dict[str, Any]:
    return {
        "model_name": folder.name,
        "model_path": str(folder),
        "device": options.device,
        "exe_mode": mode,
        "model_config": {"dtype": options.dtype, "with_ckpt": model not in SHAPES},
        "data_config": {"input_max_len": options.input, "max_new_tokens": options.output, "ignore_eos": True},
    }


def _made(scratch: Path, model: str) -> Path:
    """Make the model to measure: a tiny one, or configuration and tokenizer of a larger one; or find its folder."""
    if model in MODELS:
        return make_model(model, scratch / model)
    if model not in SHAPES:
        return Path(model)
    folder = make_model("tiny-llama", scratch / f"llama-{model}")
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = SHAPES[model]
    content |= {**sizes, **(SMALL if model == "50m" else LARGE)}
    content["head_dim"] = sizes["hidden_size"] // sizes["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
