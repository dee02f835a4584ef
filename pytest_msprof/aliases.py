"""The import paths of the original tool, answered by this package where the original is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ALIASES", "install_aliases"]

_Homes = dict[str, tuple[str, ...]]

_CONFIG: _Homes = {
    "settings": (
        "MetricAlgorithm",
        "PerformanceConfig",
        "Settings",
        "VllmBenchmarkConfig",
        "VllmConfig",
        "get_settings",
        "register_settings",
    ),
    "fields": ("OptimizerConfigField",),
    "interfaces": ("ProcessState", "Stage"),
    "results": ("PerformanceIndex",),
    "commands": ("VllmBenchmarkCommandConfig", "VllmCommandConfig"),
}
_COMMANDS: _Homes = {
    "commands": ("VllmBenchmarkCommand", "VllmBenchmarkCommandConfig", "VllmCommand", "VllmCommandConfig")
}
_SIMULATOR: _Homes = {"interfaces": ("CustomProcess", "SimulatorInterface")}
_BENCHMARK: _Homes = {"interfaces": ("BenchmarkInterface", "CustomProcess")}
_REGISTER: _Homes = {"registry": ("register_benchmarks", "register_simulator")}

_TREE: dict[str, _Homes] = {
    "config.config": _CONFIG,
    "config.custom_command": _COMMANDS,
    "optimizer.simulator": _SIMULATOR,
    "optimizer.benchmark": _BENCHMARK,
    "optimizer.interfaces.simulator": _SIMULATOR,
    "optimizer.interfaces.benchmark": _BENCHMARK,
    "optimizer.interfaces.custom_process": {"interfaces": ("CustomProcess",)},
    "optimizer.register": _REGISTER,
}
_ROOTS = ("msserviceprofiler.modelevalstate", "ms_serviceparam_optimizer")


def _aliases() -> dict[str, dict[str, str]]:
    """Return every module that exists here: its names, and the module of ours that has each."""
    modules: dict[str, dict[str, str]] = {}
    for root in _ROOTS:
        for path, homes in _TREE.items():
            parts = f"{root}.{path}".split(".")
            for depth in range(1, len(parts)):
                modules.setdefault(".".join(parts[:depth]), {})
            modules[".".join(parts)] = {name: home for home, names in homes.items() for name in names}
    return modules


ALIASES = _aliases()
"""Module → name → module of this package that has it; a package has no names."""


class _AliasModule(ModuleType):
    """A module whose names are loaded from this package when they are first asked for."""

    def __getattr__(self, name: str) -> Any:
        try:
            home = ALIASES[self.__name__][name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
        value = getattr(import_module(f"pytest_msprof.{home}"), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *ALIASES[self.__name__]})


class _AliasLoader:
    # Deriving from importlib.abc.Loader would cost every pytest run its import.

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AliasModule(spec.name, "Names of pytest-msprof under the original tool's import path.")

    def exec_module(self, module: ModuleType) -> None:
        if names := ALIASES[module.__name__]:
            module.__dict__["__all__"] = sorted(names)


class _AliasFinder:
    """Answers for the original's names, but never inside of a real installation."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in ALIASES:
            return None
        parent = fullname.rpartition(".")[0]
        if parent:
            mine = isinstance(sys.modules.get(parent), _AliasModule)
        else:
            mine = not self._is_installed(fullname, path, target)
        if not mine:
            return None
        loader: Any = _AliasLoader()
        return ModuleSpec(fullname, loader, origin="pytest_msprof.aliases", is_package=not ALIASES[fullname])

    def _is_installed(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> bool:
        """Ask the other finders; a bare folder of that name (a clone's) is no installation."""
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and (spec.loader is not None or _has_distribution(name)):
                return True
        return False


def _has_distribution(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def install_aliases() -> None:
    """Make the original's import paths work in this process; asking twice does nothing more."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        # First, because a folder called like the package would otherwise answer as a namespace.
        sys.meta_path.insert(0, _AliasFinder())
