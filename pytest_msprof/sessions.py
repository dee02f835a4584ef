"""The session of a pytest process, and what pytest's hooks ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof.collection import FACTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pytest_msprof.comparison import Comparison
    from pytest_msprof.errors import PluginError
    from pytest_msprof.noise_floor import Floor
    from pytest_msprof.options import Options
    from pytest_msprof.results import Run
    from pytest_msprof.session import MsprofSession

__all__ = [
    "LazyGolden",
    "check_collected",
    "decorate_report",
    "is_ours",
    "listening",
    "options_of",
    "refuse_module",
    "refusing",
    "session_id_of",
    "session_of",
]

FIXTURES = frozenset({"engine_name", "load_generator", "model_runner"})
"""A test that asks for one of these is ours, and so is one with a tune mark.

All that measure do, by way of `record`, `service` or `trial`; a stranger's fixture of such a name does not.
"""

SESSION = pytest.StashKey["MsprofSession"]()
SESSION_ID = pytest.StashKey[str]()
OPTIONS = pytest.StashKey["Options"]()
PROBLEMS = pytest.StashKey[list[str]]()


def is_ours(fixturenames: Iterable[str], node: Any) -> bool:
    """Say whether a test has anything to do with us."""
    return not FIXTURES.isdisjoint(fixturenames) or node.get_closest_marker("tune") is not None


def options_of(config: pytest.Config) -> Options:
    """Return the settled options; raises `ConfigurationError` for one that cannot be used."""
    if OPTIONS not in config.stash:
        from pytest_msprof.options import Options

        config.stash[OPTIONS] = Options.of(config)
    return config.stash[OPTIONS]


def session_id_of(config: pytest.Config) -> str:
    """Return the id of the session, the same in every worker."""
    if SESSION_ID not in config.stash:
        from pytest_msprof.ids import new_id

        given = getattr(config, "workerinput", {}).get("msprof_session_id")
        config.stash[SESSION_ID] = given or new_id()
    return config.stash[SESSION_ID]


def session_of(config: pytest.Config) -> MsprofSession:
    """Return the session, made at the first call."""
    if SESSION not in config.stash:
        from pytest_msprof.session import MsprofSession

        config.stash[SESSION] = MsprofSession(config, options_of(config), session_id_of(config))
    return config.stash[SESSION]


@contextmanager
def refusing(config: pytest.Config) -> Iterator[None]:
    """Remember why a test cannot be collected as it is; the collection ends with a usage error."""
    from pytest_msprof.errors import ConfigurationError

    try:
        yield
    except ConfigurationError as error:
        config.stash.setdefault(PROBLEMS, []).append(str(error))


def refuse_module(module: pytest.Module, found: pytest.ExceptionInfo[BaseException]) -> None:
    """Remember where and why *module* cannot be imported, if that is for an error of ours.

    Whoever asks to go on after collection errors keeps pytest's own report.
    """
    from pytest_msprof.errors import ConfigurationError

    if not isinstance(found.value, ConfigurationError) or module.config.option.continue_on_collection_errors:
        return
    lines = [entry.lineno + 1 for entry in found.traceback if Path(entry.path) == module.path]
    where = ":".join(map(str, (module.nodeid, *lines[-1:])))
    module.config.stash.setdefault(PROBLEMS, []).append(f"{where}: {found.value}")


def check_collected(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Raise `ConfigurationError` for what the collected *items* could only fail with later."""
    from pytest_msprof.errors import ConfigurationError

    if problems := config.stash.get(PROBLEMS, []):
        raise ConfigurationError("; ".join(dict.fromkeys(problems)))
    session = session_of(config)
    errors = load_plugins(config)
    try:
        session.check(items)
    except ConfigurationError as error:
        broken = "".join(f"; {other}" for other in errors)
        raise ConfigurationError(f"{error}{broken}") from None
    for other in errors:
        config.issue_config_time_warning(BrokenPlugin(str(other)), stacklevel=2)


class BrokenPlugin(UserWarning):
    """An installed plugin could not be loaded; nothing in this session needs it."""


def load_plugins(config: pytest.Config) -> list[PluginError]:
    """Load the installed plugins into *config*'s plugin manager and this process' registry.

    Conftests go first: what they registered so far is the user's word, and a hook module that
    comes after is known by its distribution.
    """
    from pytest_msprof.errors import PluginError
    from pytest_msprof.loading import load_plugins as load
    from pytest_msprof.registry import REGISTRY

    manager = config.pluginmanager

    def register(module: object, name: str) -> None:
        if not manager.is_registered(module):
            manager.register(module, f"msprof:{name}")

    if not config.stash.get(_CALLED, False):
        config.stash[_CALLED] = True
        for kind in ("simulators", "benchmarks", "monitors", "runners"):
            hook = getattr(manager.hook, f"pytest_msprof_register_{kind}")
            try:
                hook.call_historic(kwargs={"registry": REGISTRY})
            except PluginError:
                raise
            except Exception as error:
                raise PluginError(f"a plugin failed to register its {kind}: {type(error).__name__}: {error}") from error
    return load(register)


@contextmanager
def listening(item: pytest.Item) -> Iterator[None]:
    """Keep the comparisons that *item* makes, and let `--msprof-strict` decide about missing evidence."""
    from pytest_msprof.comparison import FLOORS, LISTENER, STRICT

    def hear(comparison: Comparison) -> None:
        found = item.stash.setdefault(FACTS, {}).setdefault("comparisons", [])
        found.append(comparison.model_dump(mode="json"))
        item.user_properties.append(("msprof.verdict", comparison.verdict))

    def earlier(golden: Sequence[Run], current: Sequence[Run], names: Sequence[str]) -> Floor | None:
        session = item.config.stash.get(SESSION, None)
        return session.known_floors.find(golden, current, names) if session else None

    tokens = LISTENER.set(hear), STRICT.set(options_of(item.config).strict), FLOORS.set(earlier)
    try:
        yield
    finally:
        LISTENER.reset(tokens[0])
        STRICT.reset(tokens[1])
        FLOORS.reset(tokens[2])


_CALLED = pytest.StashKey[bool]()


class LazyGolden:
    """The golden runs of the run that a test recorded last."""

    def __init__(self, session: MsprofSession, item: pytest.Item) -> None:
        self._session, self._item = session, item

    @property
    def runs(self) -> tuple[Run, ...]:
        """The golden runs, none where none were accepted yet or this session makes its own golden.

        Raises `ConfigurationError` before the first `record`: what is golden depends on the run.
        """
        if self._session.options.update_golden:
            return ()
        return tuple(self._session.golden(self._recorded()).runs)

    @property
    def accepted_at(self) -> datetime | None:
        """When they became golden, None where there are none."""
        return self._session.golden(self._recorded()).accepted_at

    def _recorded(self) -> Run:
        from pytest_msprof.errors import ConfigurationError

        last = self._session.last_recorded.get(self._item.nodeid)
        if last is None:
            raise ConfigurationError("golden.runs belongs to a recorded run: call record(run) first")
        return last


def decorate_report(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Add the engine's log where a test fails for the engine, and what the item found."""
    from pytest_msprof.errors import LoadError, ServiceError

    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, ServiceError | LoadError) and error.log_tail:
        report.sections.append(("engine log", error.log_tail))
    if report.skipped and isinstance(report.longrepr, tuple):
        path, line, _ = item.reportinfo()
        report.longrepr = (str(path), (line or 0) + 1, report.longrepr[2])
    facts = item.stash.get(FACTS, None)
    if facts is None:
        return
    if tail := facts.pop("log_tail", ""):
        report.sections.append(("engine log", tail))
    if call.when == "teardown":
        del item.stash[FACTS]
    elif call.when == "call" or report.skipped:
        report.msprof = facts  # type: ignore[attr-defined]
