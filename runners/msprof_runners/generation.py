"""The loop that makes tokens, and what each step of it took."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msprof_runners.measurement import Passage

if TYPE_CHECKING:
    from msprof_runners.model_runner import ModelRunner
    from msprof_runners.prompts import Batch

__all__ = ["generate"]


def generate(
    runner: ModelRunner,
    batch: Batch,
    *,
    warm_up: bool = False,
    after_step: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Passage:
    """Run *batch* through the hooks of *runner* until its jump flag says so, and time every step.

    The clock starts with token ids on the host. A step ends when the device has made its tokens;
    *after_step*, a profiler's, is called outside of what is timed only in a pass that nobody times.
    """
    import torch

    device = runner.device
    ends: list[float] = []
    _forget_host_peak()
    device.reset_peak_memory()
    with torch.inference_mode():
        device.synchronize()
        start = clock()
        input_dict = runner.begin(runner.own_part(batch))
        while not runner.get_jump_prepare(len(ends), warm_up, input_dict):
            model_inputs = runner.model_input_prepare(input_dict)
            outputs = runner.model_inference(model_inputs, is_prefill=input_dict["is_prefill"], warm_up=warm_up)
            runner.model_output_process(model_inputs, outputs, input_dict)
            device.synchronize()
            ends.append(clock() - start)
            after_step()
    return _passage(ends, batch, input_dict, runner)


def _passage(ends: list[float], batch: Batch, input_dict: dict[str, Any], runner: ModelRunner) -> Passage:
    rows = runner.of_all(input_dict["generate_ids"][:, batch.width :], batch).tolist()
    ignored = runner.runner_settings.data.ignore_eos
    answers = [row if ignored else _until(row, runner.stop_tokens) for row in rows]
    memory = {"host_memory": _host_peak(), "device_memory": runner.device.peak_memory()}
    return Passage(
        step_ends=np.array(ends),
        input_tokens=tuple(map(len, batch.rows)),
        answers=tuple(map(tuple, answers)),
        stopped=tuple(not ignored and answer[-1] in runner.stop_tokens for answer in answers),
        memory=runner.world.largest(
            {name: value for name, value in memory.items() if value is not None}, runner.model.device
        ),
    )


def _until(row: list[int], stop_tokens: frozenset[int]) -> list[int]:
    end = next((place for place, token in enumerate(row) if token in stop_tokens), len(row))
    return row[: end + 1]


def _forget_host_peak() -> None:
    """Let the kernel count the largest resident set anew, where it can (proc(5), `clear_refs`)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _host_peak() -> int:
    """Return the largest resident set in bytes; of the whole process where the kernel cannot count anew."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
