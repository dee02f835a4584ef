"""The run that one call of `model_generate` is, with its answers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr

from msprof_runners.measurement import Passage, measured
from pytest_msprof.hardware import hardware
from pytest_msprof.ids import digest, directory_digest, new_id
from pytest_msprof.results import Run, Value
from pytest_msprof.workload import Workload

if TYPE_CHECKING:
    from msprof_runners.model_runner import ModelRunner
    from msprof_runners.prompts import Batch

__all__ = ["Generated"]

PACKAGES = ("torch", "torch_npu", "transformers", "safetensors", "torchao")


class Generated(Run):
    """What was measured, and what the model said; a `Run` like that of any engine."""

    _texts: tuple[str, ...] = PrivateAttr(())
    _tokens: tuple[tuple[int, ...], ...] = PrivateAttr(())

    @property
    def texts(self) -> tuple[str, ...]:
        """The answers, without special tokens, in the order of the prompts."""
        return self._texts

    @property
    def tokens(self) -> tuple[tuple[int, ...], ...]:
        """The token ids of each answer, its end-of-sequence token included."""
        return self._tokens

    @classmethod
    def by(cls, runner: ModelRunner, batch: Batch, passage: Passage) -> Self:
        """Put together what *runner* found in one pass over *batch*."""
        workload = _workload(runner, batch)
        phases = {**runner.phases, **runner.warmed.get(len(batch), {})}
        found = measured(passage, phases, notes=(*runner.notes, *batch.notes))
        run = cls.of(
            found,
            id=new_id(),
            launch_id=runner.launch_id,
            engine="runner",
            load_generator="model_generate",
            fields=_fields(runner),
            workload=workload,
            workload_hash=digest([workload.hash(), batch.rows]),
            model=runner.model_name,
            model_digest=directory_digest(runner.model_path),
            device=runner.device.product,
            environment=_environment(runner),
            started_at=datetime.now(UTC) - timedelta(seconds=found.duration),
        )
        texts = runner.tokenizer.batch_decode([list(row) for row in passage.answers], skip_special_tokens=True)
        return run.with_answers(tuple(texts), passage.answers)

    def with_answers(self, texts: tuple[str, ...], tokens: tuple[tuple[int, ...], ...]) -> Self:
        """Return the same run with the answers beside it."""
        return self._attach(_texts=texts, _tokens=tokens)


def _workload(runner: ModelRunner, batch: Batch) -> Workload:
    data = runner.runner_settings.data
    return Workload(
        input_tokens=batch.width,
        output_tokens=data.max_new_tokens,
        concurrency=len(batch),
        num_requests=len(batch),
        warmup=0,
        ignore_eos=data.ignore_eos,
        seed=runner.runner_settings.seed,
    )


def _fields(runner: ModelRunner) -> dict[str, Value]:
    """Return what a start depends on; sizes of one are left out."""
    settings = runner.runner_settings
    sizes = {key: size for key, size in runner.layout._asdict().items() if size > 1}
    quantized = {"quantization": runner.quantization} if runner.quantization else {}
    return {
        "runner": settings.runner,
        "exe_mode": settings.exe_mode,
        "fused": runner.forward is runner.decoder,
        "dtype": str(runner.model.dtype).removeprefix("torch."),
        "attn_implementation": runner.model.config._attn_implementation,  # noqa: SLF001 - transformers has no other name
        "with_ckpt": settings.model.with_ckpt,
        **quantized,
        **sizes,
    }


def _environment(runner: ModelRunner) -> dict[str, Value]:
    import torch

    return {
        "hardware": hardware(),
        "packages": _packages(),
        "threads": torch.get_num_threads(),
        "device": runner.device.name,
        "weights_held": runner.held,
        "variables": {
            name: value for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if (value := os.environ.get(name))
        },
        "settings": runner.runner_settings.to_dict(),
    }


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
