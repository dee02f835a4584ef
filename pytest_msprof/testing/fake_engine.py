"""An engine with known speed and known faults, to test suites, plugins and load generators with."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from pytest_msprof.process import EngineProcess
from pytest_msprof.readiness import wait_until_ready
from pytest_msprof.testing import fake_server

__all__ = ["FakeEngine", "SentAnswer", "fake_command", "timed_server"]

START_TIMEOUT = 30.0
GRACE = 1.0
LISTENING = re.compile(r"^listening on (\S+):(\d+)$", re.MULTILINE)


class SentAnswer(NamedTuple):
    """What a recording engine really did for one request; times of the monotonic clock, in seconds."""

    number: int
    """1 for the first generation request."""
    arrived: float
    """The last byte of the request was read."""
    tokens: tuple[tuple[float, int], ...]
    """When each event with tokens was about to be written, and how many it carried."""
    body: Mapping[str, Any]

    @property
    def first(self) -> float:
        """When the first token was written."""
        return self.tokens[0][0]

    @property
    def last(self) -> float:
        """When the last token was written."""
        return self.tokens[-1][0]


def fake_command(port: int, **behaviour: object) -> list[str]:
    """Return the command of a fake engine; *behaviour* are its options, such as `ttft=0.05, no_done=True`."""
    return program_command(fake_server.__file__, port=port, **behaviour)


def program_command(program: str, **options: object) -> list[str]:
    """Return the command that runs *program* alone, without the packages that are installed."""
    command = [sys.executable, "-I", "-S", program]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            command.append(option)
        elif value is not False and value is not None:
            command.append(f"{option}={value}")
    return command


class FakeEngine:
    """A fake engine in a process of its own; use it as a context manager.

    The options are those of the program (`python fake_server.py --help`): speed by `ttft`, `itl`,
    `capacity` and `slowdown`, faults by `fail`, `fail_every`, `crash_after` and others. With
    `record=True` it tells by `answers` what it really sent.
    """

    def __init__(self, **behaviour: object) -> None:
        self.behaviour = behaviour
        self.model = str(behaviour.get("model", "fake"))
        self.base_url = ""
        self.process: EngineProcess

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="msprof-fake-")
        folder = Path(self._folder.name)
        self.process = EngineProcess.start(
            self._command(),
            name="fake engine",
            env=dict(os.environ),
            cwd=folder,
            log_path=folder / "engine.log",
        )
        try:
            wait_until_ready(self.process, self._is_listening, timeout=START_TIMEOUT)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop(grace=GRACE)
        self._folder.cleanup()

    def _command(self) -> list[str]:
        return fake_command(0, **self.behaviour)

    def _is_listening(self) -> bool:
        found = LISTENING.search(self.process.log_tail())
        if found:
            scheme = "https" if self.behaviour.get("certificate") else "http"
            self.base_url = f"{scheme}://{found[1]}:{found[2]}"
        return found is not None

    def stats(self) -> dict[str, int]:
        """Return how many requests and connections came in, and how many requests ran at once."""
        found: dict[str, int] = self._get("/stats")
        return found

    def answers(self) -> list[SentAnswer]:
        """Return what a recording engine did for each request that ended, in order of their ends."""
        return [
            SentAnswer(
                number=row["number"],
                arrived=row["arrived"],
                tokens=tuple((moment, tokens) for moment, tokens in row["sent"] if tokens),
                body=row["body"],
            )
            for row in self._get("/record")
        ]

    def _get(self, path: str) -> Any:
        parts = urlsplit(self.base_url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, context=trusting)
        else:
            connection = http.client.HTTPConnection(host, port)
        try:
            connection.request("GET", path)
            return json.load(connection.getresponse())
        finally:
            connection.close()


class timed_server(FakeEngine):  # noqa: N801 - used like a function
    """A recording engine with an absolute schedule: token *i* leaves at arrival + *ttft* + *i* · *itl*.

    With *steps*, each request is answered by these bytes instead, `(offset in seconds, bytes)`,
    status line and headers included, and then *end*: `close`, `reset`, `hold` it open, or `keep` it
    for the next request.
    """

    def __init__(
        self,
        *,
        ttft: float = 0.05,
        itl: float = 0.01,
        steps: Sequence[tuple[float, bytes]] | None = None,
        end: str = "close",
        **behaviour: object,
    ) -> None:
        super().__init__(ttft=ttft, itl=itl, record=True, **behaviour)
        self._script = {"steps": [(offset, data.decode("latin-1")) for offset, data in steps or ()], "end": end}
        self._is_scripted = steps is not None

    def __enter__(self) -> Self:
        if not self._is_scripted:
            return super().__enter__()
        with tempfile.NamedTemporaryFile("w", prefix="msprof-script-", suffix=".json", encoding="utf-8") as file:
            json.dump(self._script, file)
            file.flush()
            self.behaviour["script"] = file.name
            return super().__enter__()
