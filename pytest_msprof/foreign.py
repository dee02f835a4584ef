"""Plugins that registered with the original tool: its classes, worn as ours.

Where the original is installed its import paths are its own, so a plugin's classes derive from its
interfaces and land in its registry. Each is wrapped here: the plugin makes commands and reads
results as ever, and starting, stopping and waiting are done by this package.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from pytest_msprof.errors import PluginError
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.interfaces import BenchmarkInterface, SimulatorInterface
from pytest_msprof.program import CustomProcess, Fields
from pytest_msprof.registry import REGISTRY, Register
from pytest_msprof.results import PerformanceIndex

__all__ = ["adapt_benchmark", "adapt_simulator", "adopt_registrations"]

REGISTRIES = ("msserviceprofiler.modelevalstate.optimizer.register", "ms_serviceparam_optimizer.optimizer.register")

_adopted: set[tuple[str, type]] = set()


def adopt_registrations(source: str) -> None:
    """Register what *source* left in the registry of the original, if that was imported at all.

    Raises `PluginError` for classes that cannot be adapted, after the others.
    """
    problems: list[str] = []
    for path in REGISTRIES:
        module = sys.modules.get(path)
        if module is None or not getattr(module, "__file__", None):
            continue
        problems += _adopt(getattr(module, "simulates", {}), REGISTRY.simulators, adapt_simulator, source)
        problems += _adopt(getattr(module, "benchmarks", {}), REGISTRY.benchmarks, adapt_benchmark, source)
    if problems:
        raise PluginError("; ".join(problems))


def _adopt(found: dict[str, type], register: Register, adapt: Callable[[type], type], source: str) -> Iterator[str]:
    """Register what is new in *found*, and yield what cannot be."""
    for name, cls in found.items():
        if (register.kind, cls) not in _adopted:
            _adopted.add((register.kind, cls))
            try:
                register.add(name, adapt(cls), source=source)
            except PluginError as error:
                yield str(error)


class _Worn(CustomProcess):
    """The part that both kinds share: fields go in, a command and an environment come out."""

    foreign: ClassVar[type]

    def __init__(self, bak_path: Path | None = None, **_ignored: Any) -> None:
        self.inner = self.foreign(bak_path=bak_path)
        self.config = getattr(self.inner, "config", None)
        super().__init__(bak_path=bak_path, process_name=getattr(self.inner, "process_name", ""))
        self.work_path = Path(getattr(self.inner, "work_path", None) or self.work_path)

    @property
    def data_field(self) -> Fields:
        return tuple(_ours(entry) for entry in self.inner.data_field or ())

    @data_field.setter
    def data_field(self, value: Fields) -> None:
        self.inner.data_field = self._theirs(value)

    def update_command(self) -> None:
        self.inner.update_command()
        self.command = list(self.inner.command or ())

    def before_run(self, run_params: Fields | None = None) -> None:
        self.env.update(getattr(self.inner, "env", {}))
        super().before_run(run_params)

    def run(self, run_params: Fields | None = None, **_ignored: Any) -> None:
        super().run(run_params)
        self.inner.run_log, self.inner.run_log_offset = self.run_log, 0

    def _theirs(self, fields: Fields) -> tuple[Any, ...]:
        """Give the plugin its own field objects, carrying our values."""
        given = {entry.name: entry.value for entry in fields}
        own = self.inner.data_field or ()
        return tuple(old.model_copy(update={"value": given[old.name]}) if old.name in given else old for old in own)


class _WornSimulator(_Worn, SimulatorInterface):
    @property
    def base_url(self) -> str:
        return str(self.inner.base_url)

    def update_config(self, params: Fields | None = None) -> bool:
        return bool(self.inner.update_config(self._theirs(params or ())))


class _WornBenchmark(_Worn, BenchmarkInterface):
    @property
    def num_prompts(self) -> int:
        return int(self.inner.num_prompts or 0)

    @num_prompts.setter
    def num_prompts(self, value: int) -> None:
        self.inner.num_prompts = value

    def get_performance_index(self) -> PerformanceIndex:
        return PerformanceIndex(
            **self.inner.get_performance_index().model_dump(include=set(PerformanceIndex.model_fields))
        )


def adapt_simulator(cls: type) -> type[SimulatorInterface]:
    """Return an engine of ours that wears the original's *cls*."""
    _check(cls, ("base_url", "update_command"))
    return type(cls.__name__, (_WornSimulator,), _members(cls))


def adapt_benchmark(cls: type) -> type[BenchmarkInterface]:
    """Return a benchmark of ours that wears the original's *cls*."""
    _check(cls, ("get_performance_index", "update_command"))
    return type(cls.__name__, (_WornBenchmark,), _members(cls))


def _members(cls: type) -> dict[str, Any]:
    """Name the class that is worn, and hand its optional hooks through where it has them."""
    members: dict[str, Any] = {"foreign": cls, "__module__": cls.__module__, "__doc__": cls.__doc__}
    for name in ("prepare", "check_success"):
        if hasattr(cls, name):
            members[name] = _handed_through(name)
    return members


def _handed_through(name: str) -> Callable[..., Any]:
    def call(self: _Worn, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, name)(*args, **kwargs)

    return call


def _check(cls: type, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if not hasattr(cls, name)]
    if inspect.isabstract(cls):
        missing += sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"class {cls.__module__}.{cls.__qualname__} cannot be adapted: it lacks {', '.join(missing)}")


def _ours(entry: Any) -> OptimizerConfigField:
    known = entry.model_dump(include=set(OptimizerConfigField.model_fields))
    given = {name: value for name, value in known.items() if value is not None or name in entry.model_fields_set}
    return OptimizerConfigField(**given)
