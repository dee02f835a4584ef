"""How fast a ModelRunner is beside `transformers.generate`, on the same model.

    .engines/runners/bin/python benchmarks/runner.py [--model DIR | --shape 1b|7b] [--device cuda]

Both answer the same prompts with the same number of tokens, in turn, round after round; what is shown
is the median of the ratios inside each round, since absolute figures depend on the machine and on who
else uses it. Decode time of `generate` is that of a whole answer without that of an answer of one
token. With `--shape`, weights are random and only the runner is measured beside the floor: the time in
which the device can read every weight once, from the bandwidth of a large copy in the same process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "runners"))

from msprof_runners import HuggingFaceRunner
from pytest_msprof.tiny_models import make_model

SHAPES = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}
COPIES = 20


class Figures(NamedTuple):
    """Tokens a second of one round."""

    prefill: float
    decode: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of the model (default: tiny-qwen2, made on the spot)")
    parser.add_argument("--shape", choices=sorted(SHAPES), help="random weights of this size, in bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--modes", default="eager,ge_graph")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or _made(Path(scratch), options.shape)
        for mode in options.modes.split(","):
            runner = HuggingFaceRunner(_settings(options, folder, mode)).init_model()
            for batch in map(int, options.batches.split(",")):
                show(runner, mode, batch, options)
            runner.close()


def show(runner: HuggingFaceRunner, mode: str, batch: int, options: argparse.Namespace) -> None:
    """Measure one mode at one batch size, and print a line."""
    prompts = _prompts(runner, batch, options)
    contenders: dict[str, Callable[[], Figures]] = {"runner": lambda: by_runner(runner, prompts)}
    if not options.shape:
        contenders["transformers"] = lambda: by_transformers(runner, prompts, options.output)
    for contender in contenders.values():
        contender()
    rounds = [{name: contender() for name, contender in contenders.items()} for _ in range(options.rounds)]
    own = [found["runner"] for found in rounds]
    decode, prefill = _median(own, "decode"), _median(own, "prefill")
    line = f"{mode:<9} batch {batch:>2}: decode {decode:>9,.1f} tok/s, prefill {prefill:>9,.1f} tok/s"
    if "transformers" in contenders:
        ratios = [
            [getattr(found["runner"], what) / getattr(found["transformers"], what) for found in rounds]
            for what in Figures._fields
        ]
        line += "; to transformers: prefill {:.2f}×, decode {:.2f}×".format(*map(statistics.median, ratios))
    else:
        line += f"; share of the bandwidth floor {_floor(runner) * decode / batch:.0%}"
    print(line, flush=True)


def by_runner(runner: HuggingFaceRunner, prompts: list[list[int]]) -> Figures:
    """Return what the runner itself measures."""
    metrics = runner.model_generate(prompts).metrics
    return Figures(metrics["prefill_throughput"], metrics["decode_throughput"])


def by_transformers(runner: HuggingFaceRunner, prompts: list[list[int]], length: int) -> Figures:
    """Return what `generate` takes on the runner's own model, its defaults untouched."""
    first, whole = (_generate(runner, prompts, tokens) for tokens in (1, length))
    asked = sum(map(len, prompts))
    return Figures(asked / first, len(prompts) * (length - 1) / (whole - first))


def _generate(runner: HuggingFaceRunner, prompts: list[list[int]], length: int) -> float:
    import torch

    given = torch.tensor(prompts, device=runner.model.device)
    runner.device.synchronize()
    start = time.perf_counter()
    runner.model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        pad_token_id=runner.pad_token,
    )
    runner.device.synchronize()
    return time.perf_counter() - start


def _floor(runner: HuggingFaceRunner) -> float:
    """Return the seconds in which the device reads every weight of a decode step once."""
    import torch

    embeddings = runner.model.get_input_embeddings().weight
    weights = sum(value.nbytes for value in runner.model.parameters()) - embeddings.nbytes
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
    return weights / (2 * size / min(took))


def _median(rounds: list[Figures], what: str) -> float:
    return statistics.median(getattr(found, what) for found in rounds)


def _prompts(runner: HuggingFaceRunner, batch: int, options: argparse.Namespace) -> list[list[int]]:
    from msprof_runners.prompt_sources import synthetic_prompts

    special = frozenset(runner.tokenizer.all_special_ids)
    return synthetic_prompts(batch, options.input, vocabulary=runner.tokenizer.vocab_size, special=special)


def _settings(options: argparse.Namespace, folder: Path, mode: str) -> dict[str, Any]:
    dtype = options.dtype or ("bfloat16" if options.shape else "float32")
    return {
        "model_name": options.shape or folder.name,
        "model_path": str(folder),
        "device": options.device,
        "exe_mode": mode,
        "model_config": {"dtype": dtype, "with_ckpt": not options.shape},
        "data_config": {"input_max_len": options.input, "max_new_tokens": options.output, "ignore_eos": True},
    }


def _made(scratch: Path, shape: str | None) -> Path:
    """Make the model to measure: the tiny one, or configuration and tokenizer of a large one."""
    if shape is None:
        return make_model("tiny-qwen2", scratch / "tiny-qwen2")
    folder = make_model("tiny-llama", scratch / f"llama-{shape}")
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = SHAPES[shape]
    content |= {**sizes, "num_key_value_heads": 8, "vocab_size": 32000}
    content["head_dim"] = sizes["hidden_size"] // sizes["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
