"""Finding installed plugins by entry point, and loading each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from pytest_msprof.errors import PluginError
from pytest_msprof.registry import registering

__all__ = ["GROUPS", "load_plugins"]

GROUPS = (
    "pytest_msprof.plugins",
    "ms_serviceparam_optimizer.plugins",
    "msserviceprofiler.modelevalstate.plugins",
    "modelevalstate.plugins",
)
"""Ours, and the ones that the seed and its successor name."""

_loaded: dict[tuple[str, str], ModuleType | PluginError | None] = {}
"""(distribution, value) → the hook module, the failure, or None for a callable that was called."""


def load_plugins(register: Callable[[object, str], object]) -> list[PluginError]:
    """Load every installed plugin and return what went wrong, one error a plugin.

    A hook module goes to *register* with its name at each call, for there may be several plugin
    managers in a process; a callable is called once in a process.
    """
    errors = []
    for entry in _entries():
        found = _load_once(entry)
        if isinstance(found, ModuleType):
            found = _register(entry, found, register)
        if isinstance(found, PluginError):
            errors.append(found)
    return errors


def _entries() -> Iterator[EntryPoint]:
    """Yield each entry point once, however many groups list it."""
    seen = set()
    for group in GROUPS:
        for entry in entry_points(group=group):
            if _identity(entry) not in seen:
                seen.add(_identity(entry))
                yield entry


def _load_once(entry: EntryPoint) -> ModuleType | PluginError | None:
    key = _identity(entry)
    if key not in _loaded:
        _loaded[key] = _load(entry)
    return _loaded[key]


def _load(entry: EntryPoint) -> ModuleType | PluginError | None:
    try:
        with registering(_source(entry)):
            found = entry.load()
            if not isinstance(found, ModuleType):
                if not callable(found):
                    return _failure(entry, f"it is {found!r}, neither a module nor a function without arguments")
                found()
            _adopt(_source(entry))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may raise anything
        return _failure(entry, f"{type(error).__name__}: {error}")
    return found if isinstance(found, ModuleType) else None


def _register(entry: EntryPoint, module: ModuleType, register: Callable[[object, str], object]) -> PluginError | None:
    try:
        with registering(_source(entry)):
            register(module, entry.name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - hooks of a stranger's module run in here
        return _failure(entry, f"{type(error).__name__}: {error}")
    return None


def _adopt(source: str) -> None:
    """Take over what a plugin registered with the original tool, where that is installed."""
    from pytest_msprof.foreign import adopt_registrations

    adopt_registrations(source)


def _failure(entry: EntryPoint, reason: str) -> PluginError:
    return PluginError(
        f"plugin {entry.name!r} of distribution {_distribution(entry)!r} cannot be loaded "
        f"({entry.group}: {entry.value}): {reason}"
    )


def _identity(entry: EntryPoint) -> tuple[str, str]:
    return _distribution(entry), entry.value


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _source(entry: EntryPoint) -> str:
    """Our own packages go by their module, which says that they are built in; others by distribution."""
    distribution = _distribution(entry)
    return entry.module if distribution == "pytest-msprof" else distribution
