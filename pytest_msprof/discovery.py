"""What is installed, outside of a test session: fills the registry for the command line."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pluggy import PluginManager

from pytest_msprof import hookspecs
from pytest_msprof.aliases import install_aliases
from pytest_msprof.errors import PluginError
from pytest_msprof.loading import load_plugins
from pytest_msprof.registry import REGISTRY

__all__ = ["discover", "installed"]

PREFIX = "pytest_msprof_"


def discover() -> list[PluginError]:
    """Register every installed engine, benchmark, monitor and runner, and return what could not be loaded."""
    return installed()[1]


def installed() -> tuple[PluginManager, list[PluginError]]:
    """Do the same, and return the hooks of every installed plugin as well."""
    install_aliases()
    manager = _Hooks("pytest")
    manager.add_hookspecs(hookspecs)
    for kind in ("simulators", "benchmarks", "monitors", "runners"):
        getattr(manager.hook, f"{PREFIX}register_{kind}").call_historic(kwargs={"registry": REGISTRY})
    return manager, load_plugins(manager.register)


class _Hooks(PluginManager):
    """Knows our hooks by their names, marked or not, as pytest does, and none of pytest's own.

    A command that sends a load is on its way 50 ms sooner where nothing imports pytest.
    """

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        return self._options(name, super().parse_hookimpl_opts(plugin, name), plugin)

    def parse_hookspec_opts(self, module_or_class: ModuleType | type, name: str) -> Any:
        return self._options(name, super().parse_hookspec_opts(module_or_class, name), module_or_class)

    @staticmethod
    def _options(name: str, marked: Any, owner: object) -> Any:
        if not name.startswith(PREFIX):
            return None
        return {} if marked is None and callable(getattr(owner, name, None)) else marked
