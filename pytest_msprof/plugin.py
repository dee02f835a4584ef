"""The pytest plugin: options, marks, fixtures and the border where errors become outcomes.

Every pytest run on a machine imports this module, so it imports next to nothing itself.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof.aliases import install_aliases

if TYPE_CHECKING:
    from pytest_msprof.reporter import Reporter

__all__: list[str] = []

install_aliases()

_MARKS = (
    "engines(name, ...): the engines a test is meant for; it skips for others",
    (
        "tune(space, *, workload, objective, subject_to={}, load='fixed', n_trials, minutes=None, search='auto', "
        "confirm=4, seed=0, name=None, price_per_hour=None): search the parameters of an engine, one item a trial"
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    from pytest_msprof.options import add_options

    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_msprof import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """Read the command line as its user meant it; conftests and other plugins may have options of such a name too."""
    from pytest_msprof.options import check_names, keep_rootdir

    keep_rootdir(early_config)
    yield
    check_names(parser, args)


def pytest_configure(config: pytest.Config) -> None:
    from pytest_msprof import benchmark_table, fixtures, reporter, without_benchmark

    for mark in _MARKS:
        config.addinivalue_line("markers", mark)
    manager = config.pluginmanager
    manager.register(fixtures, "msprof-fixtures")
    manager.register(reporter.Reporter(config), "msprof-reporter")
    if manager.has_plugin("benchmark"):
        manager.register(benchmark_table, "msprof-benchmark-table")
    else:
        manager.register(without_benchmark, "msprof-without-benchmark")
    if manager.has_plugin("xdist"):
        from pytest_msprof import distributed

        manager.register(distributed, "msprof-distributed")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Parametrize engines before, and repeats and trials after the marks of the test."""
    from pytest_msprof.sessions import is_ours, options_of, refusing

    if not is_ours(metafunc.fixturenames, metafunc.definition):
        return (yield)
    from pytest_msprof.collection import parametrize_engine, parametrize_rounds

    with refusing(metafunc.config):
        parametrize_engine(metafunc, options_of(metafunc.config))
    yield
    with refusing(metafunc.config):
        parametrize_rounds(metafunc, options_of(metafunc.config))


def pytest_itemcollected(item: pytest.Item) -> None:
    wanted = {"record", "load_generator"}
    if wanted.issubset(getattr(item, "fixturenames", ())) and item.config.pluginmanager.has_plugin("benchmark"):
        from pytest_msprof.recording import install_clock

        install_clock(item)


def pytest_exception_interact(node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any]) -> None:
    """Remember a module that could not be imported for what its author mistyped."""
    if isinstance(node, pytest.Module) and call.excinfo is not None:
        from pytest_msprof.sessions import refuse_module

        refuse_module(node, call.excinfo)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the items, and refuse what could only fail later: exit code 4 before anything starts."""
    from pytest_msprof.sessions import PROBLEMS, check_collected, session_of

    ours = [item for item in items if _is_ours(item)]
    if not ours and PROBLEMS not in config.stash:
        return
    from pytest_msprof.collection import put_in_order, slot_of
    from pytest_msprof.errors import ConfigurationError, StoreError
    from pytest_msprof.options import as_usage_error

    try:
        check_collected(config, ours)
        if any(slot_of(item) for item in ours):
            from pytest_msprof.studies import check_studies

            check_studies(session_of(config), ours)
    except (ConfigurationError, StoreError) as error:
        if (output := getattr(config, "workeroutput", None)) is None:
            raise as_usage_error(error) from None
        output["msprof_usage_error"] = str(error)
        items.clear()
        return
    put_in_order(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count what is left after every deselection: a verdict falls with the last launch of a case."""
    from pytest_msprof.sessions import SESSION, session_of

    if SESSION in session.config.stash:  # not where the collection was refused
        session_of(session.config).expect([item for item in session.items if _is_ours(item)])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _is_ours(item):
        from pytest_msprof.sessions import session_of

        session_of(item.config).begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Give the items of a study their outcome: a crash is a finding, not an error of the test."""
    if not _is_ours(pyfuncitem):
        return (yield)
    from pytest_msprof.sessions import listening

    with listening(pyfuncitem):
        if "trial" not in pyfuncitem.funcargs:
            return (yield)
        from pytest_msprof.studies import settle

        with settle(pyfuncitem):
            return (yield)


@pytest.hookimpl(tryfirst=True, specname="pytest_pyfunc_call")
def pytest_msprof_result_item(pyfuncitem: pytest.Function) -> bool | None:
    """Draw the conclusion instead of running the body."""
    from pytest_msprof.collection import slot_of

    slot = slot_of(pyfuncitem) if pyfuncitem.get_closest_marker("tune") else None
    if slot is None or slot.kind != "result":
        return None
    from pytest_msprof.studies import conclude_item

    conclude_item(pyfuncitem)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the engine's log to a report that fails for it, and carry what was found to the controller."""
    report = yield
    if _is_ours(item):
        from pytest_msprof.sessions import decorate_report

        decorate_report(item, call, report)
    return report


def _is_ours(item: pytest.Item) -> bool:
    from pytest_msprof.sessions import is_ours

    return is_ours(getattr(item, "fixturenames", ()), item)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    from pytest_msprof.recording import update_json

    reporter: Reporter | None = config.pluginmanager.get_plugin("msprof-reporter")
    update_json(output_json, reporter.runs if reporter else ())


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    reporter: Reporter | None = config.pluginmanager.get_plugin("msprof-reporter")
    if reporter is not None and reporter.runs:
        from pytest_msprof import recording

        recording.machine_info(machine_info)
