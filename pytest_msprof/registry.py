"""Which engines, benchmarks, monitors and runners there are, by name, and where each came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any, NamedTuple

from pytest_msprof.errors import MsprofError, PluginError, UnknownName

__all__ = ["REGISTRY", "Register", "Registry", "register_benchmarks", "register_simulator", "registering"]

BUILT_IN = ("msprof_plugins", "msprof_runners", "msprof_reports", "pytest_msprof")

_SOURCE: ContextVar[str] = ContextVar("pytest_msprof_source", default="")


class Rank(IntEnum):
    """Whose word counts when two register the same name; the higher one, then the later one."""

    built_in = 0
    plugin = 1
    user = 2


class _Entry(NamedTuple):
    cls: type
    source: str
    rank: Rank


class Register:
    """Classes of one kind by name; a user's conftest beats an installed plugin, which beats a built-in one."""

    def __init__(self, kind: str, wanted: Callable[[], tuple[type, ...]]) -> None:
        self.kind = kind
        self._wanted = wanted
        self._entries: dict[str, _Entry] = {}

    def add(self, name: str, cls: type, *, source: str = "") -> None:
        """Register *cls* as *name*; *source* says who asks, where that is not plain from the moment or the class.

        Raises `PluginError` for a name that is no word, and for a class of another kind.
        """
        source = source or _SOURCE.get()
        self._check(name, cls, source)
        rank = _rank(source, cls)
        current = self._entries.get(name)
        if current is None or rank >= current.rank:
            self._entries[name] = _Entry(cls, source or cls.__module__, rank)

    def get(self, name: str) -> type:
        """Return the class behind *name*; raises `UnknownName` with the nearest names."""
        try:
            return self._entries[name].cls
        except KeyError:
            raise UnknownName(self.kind, name, self._entries) from None

    def make(self, wanted: str | type, **options: Any) -> Any:
        """Make an instance of the class behind a name, or of a class that a caller has got already.

        Raises `UnknownName` for a name, and `PluginError` with the class and its source for a
        constructor that fails in any way of its own.
        """
        cls = self.get(wanted) if isinstance(wanted, str) else wanted
        try:
            return cls(**options)
        except MsprofError:
            raise
        except Exception as error:
            what = f"{self.kind} {_spell(cls)} of {self._source_of(cls)!r}"
            raise PluginError(f"{what} cannot be made: {type(error).__name__}: {error}") from error

    def names(self) -> tuple[str, ...]:
        """Return every name, sorted."""
        return tuple(sorted(self._entries))

    def source(self, name: str) -> str:
        """Return who registered *name*: a distribution, or the module of the class."""
        self.get(name)
        return self._entries[name].source

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def _source_of(self, cls: type) -> str:
        return next((entry.source for entry in self._entries.values() if entry.cls is cls), cls.__module__)

    def _check(self, name: object, cls: object, source: str) -> None:
        by = f" (by {source})" if source else ""
        if not isinstance(name, str) or not name.strip():
            raise PluginError(f"the name of {_article(self.kind)} must be a non-empty string, not {name!r}{by}")
        wanted = self._wanted()
        if not isinstance(cls, type) or not issubclass(cls, wanted):
            bases = " or ".join(base.__name__ for base in wanted)
            raise PluginError(f"{self.kind} {name!r} must be a subclass of {bases}, not {_spell(cls)}{by}")


def _simulators() -> tuple[type, ...]:
    from pytest_msprof.interfaces import SimulatorInterface

    return (SimulatorInterface,)


def _benchmarks() -> tuple[type, ...]:
    from pytest_msprof.interfaces import BenchmarkInterface, LoadGenerator

    return (BenchmarkInterface, LoadGenerator)


def _monitors() -> tuple[type, ...]:
    from pytest_msprof.monitors import Monitor

    return (Monitor,)


class Registry:
    """What plugins have registered so far."""

    def __init__(self) -> None:
        self.simulators = Register("engine", _simulators)
        self.benchmarks = Register("benchmark", _benchmarks)
        self.monitors = Register("monitor", _monitors)
        self.runners = Register("runner", lambda: (object,))


@contextmanager
def registering(source: str) -> Iterator[None]:
    """Attribute what is registered inside the `with` to *source*."""
    token = _SOURCE.set(source)
    try:
        yield
    finally:
        _SOURCE.reset(token)


REGISTRY = Registry()
"""The registry of this process, which the seed's two functions fill."""


def register_simulator(name: str, cls: type) -> None:
    """Register the engine *name*, operated by *cls*, a `SimulatorInterface`."""
    REGISTRY.simulators.add(name, cls)


def register_benchmarks(name: str, cls: type) -> None:
    """Register the benchmark *name*: *cls* is a `BenchmarkInterface` or a `LoadGenerator`."""
    REGISTRY.benchmarks.add(name, cls)


def _rank(source: str, cls: type) -> Rank:
    """Say whose word it is: without a source nobody's plugin is being loaded, so a user speaks."""
    module = source or cls.__module__
    if module.partition(".")[0] in BUILT_IN:
        return Rank.built_in
    if not source or source.rpartition(".")[2] == "conftest" or source.endswith("conftest.py"):
        return Rank.user
    return Rank.plugin


def _spell(value: object) -> str:
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__name__} {value!r}"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
