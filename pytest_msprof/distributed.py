"""Under pytest-xdist: one session id for all workers, and a worker's usage error told by the controller."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_msprof.sessions import session_id_of

__all__: list[str] = []

_ERROR = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each worker the session's id."""
    node.workerinput["msprof_session_id"] = session_id_of(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the usage error of a worker, which cannot raise it itself."""
    if message := getattr(node, "workeroutput", {}).get("msprof_usage_error"):
        node.config.stash[_ERROR] = message


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End as a usage error ends without workers."""
    if _ERROR in session.config.stash:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which usage error it was."""
    if message := terminalreporter.config.stash.get(_ERROR, ""):
        terminalreporter.write_line(f"ERROR: msprof: {message}", red=True)
