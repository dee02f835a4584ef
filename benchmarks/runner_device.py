"""How near a ModelRunner's decode steps come to what the memory of a device allows, with random weights in bf16.

    .engines/runners/bin/python benchmarks/runner_device.py --device cuda

A decode step of one request must read every weight once, so the bandwidth of the memory is a floor under
its time; it is measured by copies in the same process. The goals are half of it for a model of 1 billion
parameters and 70 % for one of 7 billion, in the best mode that the device has; the exit code is 1 where
one is missed. `--device npu` runs on an Ascend NPU, and `--device cpu --shapes tiny` anywhere, without a goal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import runner as comparison

from msprof_runners import HuggingFaceRunner
from pytest_msprof.tiny_models import make_model

MODES = {"cpu": ("eager", "ge_graph"), "cuda": ("eager", "ge_graph", "acl_graph"), "npu": ("ge_graph", "acl_graph")}
GOALS = {"1b": 0.50, "7b": 0.70}
"""Shape → share of the bandwidth floor at batch 1."""
SHAPES = ("tiny", *sorted(comparison.SHAPES))


class Found(NamedTuple):
    """One shape in one mode at one batch size."""

    shape: str
    mode: str
    batch: int
    decode: float
    """Tokens a second."""
    prefill: float
    """Tokens a second."""
    share: float
    """Of the floor: the time that the weights alone take / the time of a decode step."""


def main() -> int:
    """Measure, print a line each, and say whether the goals are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, npu or cpu, with an index if you like (%(default)s)")
    parser.add_argument("--shapes", default="1b,7b", help=f"some of {', '.join(SHAPES)} (%(default)s)")
    parser.add_argument("--modes", default="", help="some of those the device has (default: all)")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write what was found there, too")
    options = parser.parse_args()
    modes = options.modes.split(",") if options.modes else MODES[options.device.partition(":")[0]]
    found = [entry for shape in options.shapes.split(",") for mode in modes for entry in measured(shape, mode, options)]
    if options.json:
        options.json.write_text(json.dumps([entry._asdict() for entry in found], indent=1), encoding="utf-8")
    met = [_meets(shape, found) for shape in options.shapes.split(",") if shape in GOALS]
    return 0 if all(met) else 1


def measured(shape: str, mode: str, options: argparse.Namespace) -> list[Found]:
    """Return what one mode does with a model of *shape*, at each batch size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = _folder(shape, Path(scratch))
        with HuggingFaceRunner(_settings(shape, mode, folder, options)) as runner:
            runner.init_model()
            floor = comparison._floor(runner)
            return [_at(runner, shape, mode, batch, floor, options) for batch in map(int, options.batches.split(","))]


def _at(
    runner: HuggingFaceRunner, shape: str, mode: str, batch: int, floor: float, options: argparse.Namespace
) -> Found:
    prompts = comparison._prompts(runner, batch, options)
    runner.model_generate(prompts)
    rounds = [runner.model_generate(prompts).metrics for _ in range(options.rounds)]
    decode, prefill = (
        statistics.median(found[f"{what}_throughput"] for found in rounds) for what in ("decode", "prefill")
    )
    found = Found(shape, mode, batch, decode, prefill, floor * decode / batch)
    print(
        f"{shape:<5} {mode:<9} batch {batch:>2}: decode {decode:>9,.1f} tok/s, prefill {prefill:>10,.1f} tok/s, "
        f"{found.share:.0%} of the floor on {runner.device.product}",
        flush=True,
    )
    return found


def _meets(shape: str, found: list[Found]) -> bool:
    best = max((entry.share for entry in found if entry.shape == shape and entry.batch == 1), default=0.0)
    met = best >= GOALS[shape]
    print(f"{shape}: {best:.0%} of the floor at batch 1, goal {GOALS[shape]:.0%}: {'met' if met else 'missed'}")
    return met


def _folder(shape: str, scratch: Path) -> Path:
    """Make configuration and tokenizer of a model; its weights are random."""
    return make_model("tiny-llama", scratch / "tiny-llama") if shape == "tiny" else comparison._made(scratch, shape)


def _settings(shape: str, mode: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "model_name": shape,
        "model_path": str(folder),
        "device": options.device,
        "exe_mode": mode,
        "model_config": {"dtype": "bfloat16", "with_ckpt": False},
        "data_config": {"input_max_len": options.input, "max_new_tokens": options.output, "ignore_eos": True},
    }


if __name__ == "__main__":
    sys.exit(main())
