"""One process of a divided runner: makes the runner it is told to, and does what it is asked until nobody asks."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from operator import attrgetter
from typing import Any, NamedTuple

from pytest_msprof.errors import ConfigurationError, MsprofError

__all__ = ["Reply", "Source", "connected", "main"]


class Source(NamedTuple):
    """Where a class of runners is defined, for another process to find it."""

    module: str
    file: str
    name: str

    @classmethod
    def of(cls, kind: type) -> Source:
        """Say where *kind* is defined; raises `ConfigurationError` where no other process could import it."""
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__ or not file:
            raise ConfigurationError(
                f"a runner of several processes must be a class of a module, which each of them imports, "
                f"but {kind.__module__}.{kind.__qualname__} is none"
            )
        return cls(kind.__module__, file, kind.__qualname__)

    def load(self) -> Any:
        """Return the class; a conftest, which is in no package, is run from its file."""
        try:
            module = import_module(self.module)
        except ImportError:
            module = None
        if module is None or module.__file__ != self.file:
            spec = spec_from_file_location(self.module, self.file)
            if spec is None or spec.loader is None:
                raise ConfigurationError(f"{self.file} cannot be imported as {self.module}")
            module = module_from_spec(spec)
            sys.modules[self.module] = module
            spec.loader.exec_module(module)
        return attrgetter(self.name)(module)


class Reply(NamedTuple):
    """What became of one request."""

    value: Any = None
    error: str = ""
    """Name of the exception's class; empty where there was none."""
    message: str = ""
    is_ours: bool = False
    """Whether it is one of `pytest_msprof.errors`."""


def connected(end: socket.socket) -> Connection:
    """Return *end* as something that sends and receives objects."""
    return Connection(end.detach())


def main() -> None:
    """Talk to the socket whose path is the only argument."""
    rank = int(os.environ["RANK"])
    end = socket.socket(socket.AF_UNIX)
    end.connect(sys.argv[1])
    connection = connected(end)
    connection.send(rank)
    source, settings, launch_id = connection.recv()
    made: list[Any] = []
    connection.send(_reply(lambda: made.append(_runner(source, settings, launch_id))))
    with suppress(EOFError):
        while True:
            method, arguments, options = connection.recv()
            reply = _reply(lambda: attrgetter(method)(made[0])(*arguments, **options))  # noqa: B023 - called at once
            connection.send(reply if rank == 0 and reply.value is not made[0] else reply._replace(value=None))


def _runner(source: Source, settings: Mapping[str, Any], launch_id: str) -> Any:
    runner = source.load()(settings)
    runner.launch_id = launch_id
    return runner


def _reply(do: Callable[[], Any]) -> Reply:
    try:
        return Reply(do())
    except Exception as error:  # noqa: BLE001 - whatever it is, the one who asked is told
        traceback.print_exc()
        return Reply(error=type(error).__name__, message=str(error), is_ours=isinstance(error, MsprofError))
