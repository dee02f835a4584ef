"""What a plugin author tests with: engines that behave as told, and suites of what a plugin must do."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_msprof.testing.conformance import BenchmarkConformance, SimulatorConformance
    from pytest_msprof.testing.fake_engine import FakeEngine, SentAnswer, fake_command, timed_server
    from pytest_msprof.testing.fake_simulator import FakeSimulator
    from pytest_msprof.testing.fast_server import fast_server
    from pytest_msprof.testing.processes import python_process

__all__ = [
    "BenchmarkConformance",
    "FakeEngine",
    "FakeSimulator",
    "SentAnswer",
    "SimulatorConformance",
    "fake_command",
    "fast_server",
    "python_process",
    "timed_server",
]

_HOMES = {
    "conformance": ("BenchmarkConformance", "SimulatorConformance"),
    "fake_engine": ("FakeEngine", "SentAnswer", "fake_command", "timed_server"),
    "fast_server": ("fast_server",),
    "fake_simulator": ("FakeSimulator",),
    "processes": ("python_process",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that a fake engine starts without the rest."""
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
