"""Run by torchrun: models divided over all processes, each beside the whole one; prints what differs as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from msprof_runners import HuggingFaceRunner

PROMPTS = [
    "Explain what is gpt_oss.",
    " the engine builds a long story about water and wood, and goes on until it passes every window there is",
    " hi",
]
WORLD = int(os.environ["WORLD_SIZE"])
ALL = {
    "attn_tp_size": WORLD,
    "moe_tp_size": WORLD,
    "dense_tp_size": WORLD,
    "embed_tp_size": WORLD,
    "lmhead_tp_size": WORLD,
}
EXPERTS = {**ALL, "moe_tp_size": 1, "embed_tp_size": 1}
REQUESTS = {"attn_tp_size": WORLD // 2, "moe_tp_size": WORLD}
REQUESTS_AND_EXPERTS = {**REQUESTS, "moe_tp_size": 1, "lmhead_tp_size": WORLD // 2}


def settings(name, folder, sizes, **others):
    size = WORLD if sizes else 1
    return {
        "model_name": name,
        "model_path": str(folder),
        "device": "cpu",
        "world_size": size,
        "model_config": {"dtype": "float32", "enable_online_split_weight": True, "warm_up": 0, **others},
        "data_config": {"input_max_len": 64, "max_new_tokens": 12},
        "parallel_config": sizes,
    }


def said_by_transformers(runner):
    given = runner.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    lengths = {"max_new_tokens": 12, "min_new_tokens": 12}
    found = runner.model.generate(**given, **lengths, do_sample=False, pad_token_id=runner.pad_token)
    return [tuple(row) for row in found[:, given.input_ids.shape[1] :].tolist()]


def logits(runner):
    given = runner.tokenizer(PROMPTS[:2], return_tensors="pt", padding=True)
    with torch.inference_mode():
        return runner.model(**given, use_cache=False).logits


def compared(name, folder, sizes, scratch, mode):
    whole = HuggingFaceRunner(settings(name, folder, {})).init_model()
    divided = HuggingFaceRunner({**settings(name, folder, sizes), "exe_mode": mode}).init_model()
    run = divided.model_generate(PROMPTS)
    divided.save_model(scratch / name)
    saved = HuggingFaceRunner(settings(name, scratch / name, sizes, enable_online_split_weight=False)).init_model()
    whole.stop_tokens = divided.stop_tokens = frozenset({run.tokens[0][3], run.tokens[2][6]})
    return {
        "model": name,
        "stops_alike": divided.model_generate(PROMPTS).tokens == whole.model_generate(PROMPTS).tokens,
        "differs_by": float((logits(whole) - logits(divided)).abs().max()),
        "same_as_transformers": list(run.tokens) == said_by_transformers(whole),
        "same_after_saving": saved.model_generate(PROMPTS).tokens == run.tokens,
        "held": divided.held,
        "held_after_saving": saved.held,
    }


def main():
    models, scratch, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    cases = [(path.name, ALL) for path in sorted(models.iterdir())]
    for sizes in (EXPERTS, REQUESTS, REQUESTS_AND_EXPERTS) if mode == "eager" else (REQUESTS_AND_EXPERTS,):
        cases += [(name, sizes) for name in ("tiny-gpt-oss", "tiny-qwen3-moe")]
    found = [
        compared(name, models / name, sizes, scratch / str(number), mode) for number, (name, sizes) in enumerate(cases)
    ]
    random = HuggingFaceRunner(settings("random", models / "tiny-gpt-oss", ALL, with_ckpt=False)).init_model()
    found[0] |= {"random": random.model_generate(PROMPTS).tokens, "random_held": random.held}
    found[0]["largest"] = random.world.largest({"rank": random.world.rank, "same": 7}, "cpu")
    (scratch / f"found_{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


main()
