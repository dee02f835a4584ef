"""What is installed, outside of a test session: fills the registry for the command line."""

from __future__ import annotations

import pytest

from pytest_msprof import hookspecs
from pytest_msprof.aliases import install_aliases
from pytest_msprof.errors import PluginError
from pytest_msprof.loading import load_plugins
from pytest_msprof.registry import REGISTRY

__all__ = ["discover", "installed"]


def discover() -> list[PluginError]:
    """Register every installed engine, benchmark, monitor and runner, and return what could not be loaded."""
    return installed()[1]


def installed() -> tuple[pytest.PytestPluginManager, list[PluginError]]:
    """Do the same, and return the hooks of every installed plugin as well."""
    install_aliases()
    manager = pytest.PytestPluginManager()
    manager.add_hookspecs(hookspecs)
    for kind in ("simulators", "benchmarks", "monitors", "runners"):
        getattr(manager.hook, f"pytest_msprof_register_{kind}").call_historic(kwargs={"registry": REGISTRY})
    return manager, load_plugins(manager.register)
