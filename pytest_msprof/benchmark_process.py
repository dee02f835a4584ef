"""Runs a benchmark of the seed's interface as a load generator: a process, then its result."""

from __future__ import annotations

import time
from typing import Any

from pytest_msprof.errors import ConfigurationError, LoadError, MsprofError, PluginError
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.interfaces import BenchmarkInterface, LoadGenerator, LoadJob
from pytest_msprof.metrics import from_index
from pytest_msprof.registry import REGISTRY
from pytest_msprof.results import Measurement, PerformanceIndex, Value

__all__ = ["ProcessBenchmark", "make_generator"]

DEADLINE = 3600.0
"""Seconds for one benchmark where no settings say `particles_time_out`."""


def make_generator(registered: Any) -> LoadGenerator:
    """Turn what was registered into a load generator.

    Raises `PluginError` for a class of neither interface, and for one that cannot be made.
    """
    if isinstance(registered, type) and issubclass(registered, BenchmarkInterface):
        return ProcessBenchmark(registered)
    generator = REGISTRY.benchmarks.make(registered) if isinstance(registered, type) else registered
    if isinstance(generator, LoadGenerator):
        return generator
    raise PluginError(f"a load generator must be a LoadGenerator or a BenchmarkInterface, but got {registered!r}")


class ProcessBenchmark(LoadGenerator):
    """Gives a `BenchmarkInterface` the load of a workload and checks what it left behind.

    The service to load stands in its `context.base_url`.
    """

    def __init__(self, benchmark: type[BenchmarkInterface]) -> None:
        self._class = benchmark

    @property
    def data_field(self) -> tuple[OptimizerConfigField, ...]:
        """The benchmark's own fields, all of them load-side."""
        declared: tuple[OptimizerConfigField, ...] = REGISTRY.benchmarks.make(self._class).data_field
        return declared

    def generate(self, job: LoadJob) -> Measurement:
        """Run the program once and read its result.

        Raises `LoadError` for a failed exit, a result without throughput, or one without a success.
        """
        if job.context is None:
            raise ConfigurationError(f"benchmark {self._class.__name__} starts a program and needs a launch context")
        benchmark: BenchmarkInterface = REGISTRY.benchmarks.make(self._class, bak_path=job.folder)
        benchmark.configure(job.context)
        benchmark.num_prompts = job.workload.num_requests or 0
        benchmark.data_field = _fields(benchmark, job)
        if callable(prepare := getattr(benchmark, "prepare", None)):
            prepare()
        benchmark.update_command()
        started = time.monotonic()
        try:
            benchmark.run((*benchmark.data_field, *benchmark.extra_field))
            _wait(benchmark)
            index = _index(benchmark)
        finally:
            benchmark.end()
        if index.generate_speed is None and index.throughput is None:
            raise LoadError(f"{self._class.__name__} reported neither generate_speed nor throughput: {index!r}")
        if index.success_rate is not None and not index.success_rate > 0:
            raise LoadError(f"{self._class.__name__}: no request succeeded (success_rate {index.success_rate!r})")
        return from_index(index, duration=time.monotonic() - started, sent=benchmark.num_prompts)


def _index(benchmark: BenchmarkInterface) -> PerformanceIndex:
    """Read the result; what a plugin says about a missing or damaged one becomes a `LoadError`."""
    try:
        return benchmark.get_performance_index()
    except MsprofError:
        raise
    except Exception as error:
        name = type(benchmark).__name__
        raise LoadError(f"{name} left no result that can be read: {type(error).__name__}: {error}") from error


def _fields(benchmark: BenchmarkInterface, job: LoadJob) -> tuple[OptimizerConfigField, ...]:
    """Return the benchmark's fields with the workload's load in them, and the two names every command may use."""
    load: dict[str, Value] = {
        "CONCURRENCY": job.workload.concurrency,
        "MAXCONCURRENCY": job.workload.concurrency,
        "REQUESTRATE": job.workload.request_rate,
        **{name.upper(): value for name, value in job.fields.items()},
    }
    own = {entry.name: entry for entry in benchmark.data_field}
    known = [entry.model_copy(update={"value": load.get(entry.name.upper(), entry.value)}) for entry in own.values()]
    missing = [name for name in load if name not in {entry.upper() for entry in own}]
    added = [
        OptimizerConfigField(name=name, config_position="env", value=load[name], min=0, max=float("inf"))
        for name in missing
    ]
    return (*known, *added)


def _wait(benchmark: BenchmarkInterface) -> None:
    from pytest_msprof.settings import seconds_allowed

    process, name = benchmark.process, type(benchmark).__name__
    if process is None:
        return
    deadline = seconds_allowed("particles_time_out", DEADLINE)
    if not process.wait(deadline):
        raise LoadError(f"{name} did not end within {deadline:g} s")
    if process.returncode != 0:
        raise LoadError(f"{name} ended with exit code {process.returncode}: {process.log_tail(5)}")
    if callable(check := getattr(benchmark, "check_success", None)) and not check():
        raise LoadError(f"{name}: check_success() says no: {process.log_tail(5)}")
