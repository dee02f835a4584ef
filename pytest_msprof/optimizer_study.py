"""The study behind `pytest-msprof optimizer`: what to search, ask and demand, from the seed's settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_msprof.config_toml import to_space
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.interfaces import BenchmarkInterface
from pytest_msprof.registry import BUILT_IN, REGISTRY, Register
from pytest_msprof.settings import Settings
from pytest_msprof.space import SearchSpace
from pytest_msprof.workload import Workload

__all__ = ["OBJECTIVE", "OptimizerStudy", "current", "prepare"]

OBJECTIVE = "output_throughput"
CONCURRENCY = 100
"""Requests in flight where no field says it: the value that the original ships."""
MOST_TRIALS = 200
PSO = "pso"


@dataclass(frozen=True, slots=True)
class OptimizerStudy:
    """One study over the fields of an engine and a benchmark."""

    engine: str
    space: SearchSpace
    workload: Workload
    subject_to: dict[str, float]
    n_trials: int
    search: Any
    """As `tune` takes it."""
    columns: dict[str, str]
    """Field → its column in the table, which keeps the name that the user wrote."""

    @classmethod
    def of(cls, engine: str, benchmark: str, settings: Settings) -> OptimizerStudy:
        """Read it from *settings* and from what the two plugins declare.

        Raises `ConfigurationError` when there is no field to search, and `PluginError` when a
        plugin's class cannot be made.
        """
        simulator, load = REGISTRY.simulators.make(engine), REGISTRY.benchmarks.make(benchmark)
        wanted = (
            *_wanted(engine, REGISTRY.simulators, simulator.data_field, settings),
            *_wanted(benchmark, REGISTRY.benchmarks, load.data_field, settings),
        )
        if not wanted:
            raise ConfigurationError(
                f"nothing to optimize: neither engine {engine!r} nor benchmark {benchmark!r} has a field; "
                f"declare some as [[{engine}.target_field]] in config.toml"
            )
        space = to_space(wanted, simulator.data_field)
        return cls(
            engine=engine,
            space=space,
            workload=_workload(benchmark, load, settings),
            subject_to=_constraints(settings),
            n_trials=_budget(settings),
            search=_search(settings),
            columns={entry.name: old.name for entry, old in zip(space, wanted, strict=True)},
        )


_current: OptimizerStudy | None = None


def prepare(study: OptimizerStudy) -> None:
    """Choose the study that the packaged suite runs next."""
    global _current  # noqa: PLW0603 - a test module takes no arguments
    _current = study


def current() -> OptimizerStudy:
    """Return the study that was prepared; raises `ConfigurationError` before that."""
    if _current is None:
        raise ConfigurationError("the optimizer's suite is run by 'pytest-msprof optimizer'")
    return _current


def _wanted(
    name: str, register: Register, declared: Sequence[OptimizerConfigField], settings: Settings
) -> Sequence[OptimizerConfigField]:
    """Return the fields of a plugin: its own, or those that a settings file names for a built-in one."""
    table = getattr(settings, name, None)
    built_in = register.source(name).partition(".")[0] in BUILT_IN
    if built_in and table is not None and "target_field" in table.model_fields_set:
        return tuple(table.target_field)
    return tuple(declared)


def _workload(benchmark: str, load: Any, settings: Settings) -> Workload:
    """Return what a trial sends: as many requests as the benchmark asks for, within the sample size."""
    asked: int | None = load.num_prompts if isinstance(load, BenchmarkInterface) else None
    command = settings.vllm_benchmark.command
    if asked is None and (benchmark == "vllm_benchmark" or "num_prompts" in command.model_fields_set):
        asked = command.num_prompts
    values: dict[str, Any] = {"concurrency": CONCURRENCY}
    if asked:
        values["num_requests"] = min(asked, settings.sample_size or asked)
    return Workload(**{**values, **settings.workload})


def _budget(settings: Settings) -> int:
    """Return the number of trials: the swarm has steps of fine-tuning on top."""
    steps = settings.max_fine_tune if settings.search == PSO else 0
    return min(settings.n_particles * settings.iters + steps, MOST_TRIALS)


def _search(settings: Settings) -> Any:
    """Return the search; the swarm with the settings' own numbers."""
    if settings.search != PSO:
        return settings.search
    from pytest_msprof.tuning import ParticleSwarm

    return ParticleSwarm(
        n_particles=settings.n_particles,
        iters=settings.iters,
        max_fine_tune=settings.max_fine_tune,
        step_size=settings.step_size,
        **settings.pso_options.model_dump(),
    )


def _constraints(settings: Settings) -> dict[str, float]:
    """Return the limits whose penalty is not 0: that is how the seed's users switch one off."""
    limits = {
        "ttft.mean": (settings.ttft_penalty, settings.ttft_slo),
        "tpot.mean": (settings.tpot_penalty, settings.tpot_slo),
        "success_rate": (settings.success_rate_penalty, settings.success_rate_slo),
    }
    return {name: limit for name, (penalty, limit) in limits.items() if penalty}
