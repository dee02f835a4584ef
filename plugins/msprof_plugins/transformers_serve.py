"""The engine `transformers`: `transformers serve`, with or without continuous batching."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.local_server import LocalServer, option
from pytest_msprof import OptimizerConfigField, choice, floats, integers

__all__ = ["FIELDS", "TransformersSimulator", "forced_length"]

FIELDS: tuple[OptimizerConfigField, ...] = (
    choice("continuous_batching", [False, True]).marked(unset=False),
    integers("num_blocks", 8, 128, log=True, when="continuous_batching"),
    integers("batch_tokens", 16, 1024, log=True, when="continuous_batching"),
    integers("block_size", 32, 256, log=True, when="continuous_batching"),
    floats("max_memory_percent", 0.01, 0.2, when="continuous_batching"),
    choice("dtype", ["bfloat16", "float16", "float32"]),
    choice("attn_implementation", ["sdpa", "eager"]),
    integers("omp_num_threads", 1, 8),
    choice("compile", [False, True]).marked(unset=False),
)
"""What can be tuned, with ranges for a small model on a small machine; a study may set its own."""

BATCHING_OPTIONS = {
    "num_blocks": "cb-num-blocks",
    "batch_tokens": "cb-max-batch-tokens",
    "block_size": "cb-block-size",
    "max_memory_percent": "cb-max-memory-percent",
}


class TransformersSimulator(LocalServer):
    """Operates `transformers serve`.

    One thread unless the field or the environment says otherwise: on a busy machine two threads
    that spin for each other cost a factor of ten, and nobody would know why.
    """

    default_name: ClassVar[str] = "transformers"
    readiness_timeout: ClassVar[float] = 300.0
    engine = Engine(
        name="transformers",
        program="transformers",
        module="transformers.cli.transformers",
        install="python -m msprof_plugins.install_engine transformers",
    )
    distributions = ("transformers", "torch", "accelerate", "tokenizers")
    defaults: ClassVar[Mapping[str, str]] = {"OMP_NUM_THREADS": "1"}
    fields = FIELDS

    def arguments(self) -> Sequence[str]:
        """Return `serve` with its options; those of continuous batching only where it is on."""
        values = self.values
        if "omp_num_threads" in values:
            self.env["OMP_NUM_THREADS"] = str(values["omp_num_threads"])
        arguments = ["serve", self.model, "--host", self.host, "--port", str(self.port)]
        for name in ("dtype", "attn_implementation"):
            if name in values:
                arguments += option(name, values[name])
        if values.get("compile"):
            arguments += option("compile", value=True)
        if values.get("continuous_batching"):
            arguments += option("continuous_batching", value=True)
            for name, spelling in BATCHING_OPTIONS.items():
                if name in values:
                    arguments += option(spelling, values[name])
        return arguments

    def request_options(self, output_tokens: int) -> Mapping[str, Any]:
        """Force the length through the generation configuration: `ignore_eos` is refused."""
        return forced_length(output_tokens, pad=_pad_token(self.tokenizer_path))

    def stop_grace(self) -> float:
        """Allow what open streams take to end: SIGTERM waits for them."""
        return 15.0


def forced_length(output_tokens: int, *, pad: int = 0) -> dict[str, Any]:
    """Return body fields that make `transformers serve` answer exactly *output_tokens* tokens.

    A JSON string, as its API wants it. Works with continuous batching too, which drops `min_new_tokens`.
    """
    generation = {"max_new_tokens": output_tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": pad}
    return {"generation_config": json.dumps(generation)}


def _pad_token(folder: Path | None) -> int:
    """Read the padding token of a model, or the end token in its place; 0 where nobody said."""
    for file in ("generation_config.json", "config.json"):
        path = folder / file if folder else None
        if path is None or not path.is_file():
            continue
        ids = json.loads(path.read_text(encoding="utf-8"))
        for name in ("pad_token_id", "eos_token_id"):
            found = ids.get(name)
            found = found[0] if isinstance(found, list) and found else found
            if isinstance(found, int):
                return found
    return 0
