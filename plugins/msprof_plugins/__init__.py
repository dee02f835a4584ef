"""Engines and load generators that come with pytest-msprof, registered like any stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pluggy import HookimplMarker

if TYPE_CHECKING:
    from pytest_msprof.registry import Registry
    from pytest_msprof.sources import Source

__all__ = [
    "pytest_msprof_read_result",
    "pytest_msprof_register_benchmarks",
    "pytest_msprof_register_monitors",
    "pytest_msprof_register_simulators",
]

hookimpl = HookimplMarker("pytest")
"""pytest's own mark; a command needs it and no more of pytest."""


@hookimpl
def pytest_msprof_register_simulators(registry: Registry) -> None:
    """Register the engines."""
    from msprof_plugins.external import ExternalSimulator
    from msprof_plugins.runner_serve import RunnerSimulator
    from msprof_plugins.transformers_serve import TransformersSimulator
    from msprof_plugins.triton_server import TritonSimulator
    from msprof_plugins.vllm import VllmSimulator

    registry.simulators.add("external", ExternalSimulator)
    registry.simulators.add("runner", RunnerSimulator)
    registry.simulators.add("transformers", TransformersSimulator)
    registry.simulators.add("triton", TritonSimulator)
    registry.simulators.add("vllm", VllmSimulator)


@hookimpl
def pytest_msprof_register_benchmarks(registry: Registry) -> None:
    """Register the load generators."""
    from msprof_plugins.load import StreamingLoad
    from msprof_plugins.tools.aiperf import Aiperf
    from msprof_plugins.tools.ais_bench import AisBench
    from msprof_plugins.tools.guidellm import Guidellm
    from msprof_plugins.tools.vllm_benchmark import VllmBenchmark

    registry.benchmarks.add("builtin", StreamingLoad)
    for tool in (Aiperf, AisBench, Guidellm, VllmBenchmark):
        registry.benchmarks.add(tool.name, tool)


@hookimpl
def pytest_msprof_register_monitors(registry: Registry) -> None:
    """Register what watches beside a load."""
    from msprof_plugins.monitors import HostMonitor, NpuMonitor, NvmlMonitor, ServerMonitor

    registry.monitors.add("host", HostMonitor)
    registry.monitors.add("npu", NpuMonitor)
    registry.monitors.add("nvml", NvmlMonitor)
    registry.monitors.add("server", ServerMonitor)


@hookimpl
def pytest_msprof_read_result(path: Path) -> Source | None:
    """Read the result of another load generator, for a comparison."""
    from msprof_plugins.tool_results import read_result
    from msprof_plugins.tool_results.recognition import recognise
    from pytest_msprof.sources import of_measurement

    tool = recognise(path)
    if tool is None:
        return None
    found = read_result(path, tool)
    return of_measurement(found.measurement, path, tool=found.tool, load=found.load)
