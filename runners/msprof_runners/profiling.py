"""A profiled pass: where the time of each step goes, as a trace that Chrome and Perfetto open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from msprof_runners.devices import Device

__all__ = ["Profiler", "Schedule", "profiling", "schedule_for"]

MOST_RECORDED = 10
"""Steps in a trace; more make files that no viewer opens."""


class Profiler(Protocol):
    """What is told that a step has ended."""

    def step(self) -> None:
        """Go on to the next step."""


class Schedule(NamedTuple):
    """Which steps of a pass are recorded."""

    skip: int
    """Steps at the beginning that are not."""
    warm_up: int
    """Steps in which the profiler runs, but keeps nothing: its start costs time."""
    record: int


def schedule_for(steps: int) -> Schedule:
    """Return the schedule of a pass of *steps* steps, prefill included: its later steps, so many as there are.

    The prefill is recorded where there is nothing else.
    """
    record = max(1, min(MOST_RECORDED, steps - 2))
    warm_up = 1 if steps > record else 0
    return Schedule(max(0, steps - record - warm_up), warm_up, record)


@contextmanager
def profiling(device: Device, steps: int, folder: Path, name: str) -> Iterator[Profiler]:
    """Profile the steps of a pass inside the `with`; the trace is written to `folder/<name>.json` at its end."""
    profiler, target = _profiler(device), folder / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = schedule_for(steps)
    schedule = profiler.schedule(skip_first=wanted.skip, wait=0, warmup=wanted.warm_up, active=wanted.record, repeat=1)
    kinds = profiler.ProfilerActivity
    activities = [kinds.CPU, *([getattr(kinds, device.kind.upper())] if device.kind != "cpu" else [])]

    def write(found: Any) -> None:
        found.export_chrome_trace(str(target))

    with profiler.profile(activities=activities, schedule=schedule, on_trace_ready=write) as found:
        yield found


def _profiler(device: Device) -> Any:
    """Return the profiler of the device: an NPU has its own, with the same face."""
    if device.kind == "npu":
        import torch_npu

        return torch_npu.profiler
    import torch

    return torch.profiler
