"""A program with a command line: how a plugin's engine or benchmark starts, stands and ends."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.results import Value

__all__ = ["CustomProcess", "Fields", "LaunchContext", "Launcher", "ProcessHandle", "ProcessState", "Stage"]

Fields = tuple[OptimizerConfigField, ...]

VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]*")
"""An element of a command that stands for a variable of the environment."""


class Stage(Enum):
    """Where a process stands; the seed's four words."""

    start = "start"
    running = "running"
    error = "error"
    stop = "stop"


class ProcessState(BaseModel):
    """What `health` answers."""

    stage: Stage = Stage.start
    info: str = ""


class ProcessHandle(Protocol):
    """A started program, alone in its own process group; see `pytest_msprof.process`."""

    name: str
    log_path: Path

    @property
    def pid(self) -> int:
        """The leader's process number."""

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most *timeout* seconds; True when it ended."""

    def stop(self, *, grace: float = 10.0) -> None:
        """End the whole group: SIGTERM to the leader, SIGKILL to the rest after *grace* seconds."""

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the log."""


class Launcher(Protocol):
    """Starts a command in a process group of its own."""

    def __call__(
        self, command: Sequence[str], *, name: str, env: Mapping[str, str], cwd: Path, log_path: Path
    ) -> ProcessHandle:
        """Start *command*; what it says goes to *log_path*."""


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """Where one launch happens: given to a simulator or benchmark before its command is made."""

    launcher: Launcher
    folder: Path
    """A private folder of this launch: log, edited copies of config files."""
    rootdir: Path = field(default_factory=Path.cwd)
    port: int = 0
    """A free port on 127.0.0.1, kept for this launch."""
    model: str | None = None
    """Folder or name of the model, from `--msprof-model`."""
    base_url: str | None = None
    """An engine that already runs, from `--msprof-base-url`."""
    devices: tuple[str, ...] = ()
    """The devices of this slot, as the engine's visibility variable spells them."""


class CustomProcess:
    """A program with a command line: `$NAME` in it and the environment follow the fields."""

    default_name: ClassVar[str] = "process"

    def __init__(
        self,
        bak_path: Path | None = None,
        command: list[str] | None = None,
        work_path: Path | None = None,
        print_log: bool = False,  # noqa: FBT001, FBT002 - the seed's signature
        process_name: str = "",
        **_ignored: Any,
    ) -> None:
        self.bak_path = bak_path
        self.command: list[str] | None = command
        self.work_path = work_path or Path.cwd()
        self.print_log = print_log
        self.process_name = process_name
        self.env = dict(os.environ)
        self.process: ProcessHandle | None = None
        self.context: LaunchContext | None = None

    def configure(self, context: LaunchContext) -> None:
        """Learn where this launch happens; called once, before `data_field` is set."""
        self.context = context

    @property
    def data_field(self) -> Fields:
        """The fields this program understands, with their current values; the first assignment declares them."""
        own = getattr(self, "_data_field", None)
        if own is None:
            own = tuple(getattr(getattr(self, "config", None), "target_field", None) or ())
        return tuple(own)

    @data_field.setter
    def data_field(self, value: Fields) -> None:
        given = {entry.name: entry for entry in value}
        declared = self.data_field or tuple(given.values())
        self._data_field = tuple(given.pop(old.name, old) for old in declared)
        self._extra_field = tuple(given.values())

    @property
    def extra_field(self) -> Fields:
        """Fields that were given although this program does not declare them."""
        return getattr(self, "_extra_field", ())

    @property
    def run_log(self) -> str | None:
        """Path of the log, None before the start."""
        return str(self.process.log_path) if self.process else None

    def before_run(self, run_params: Fields | None = None) -> None:
        """Put the fields whose position is `env` into the environment and the command.

        A declared field that is not given has its declared value; a `$NAME` that nobody set takes
        its option away with it.
        """
        fields = {entry.name: entry for entry in (*self.data_field, *(run_params or ()))}
        for entry in fields.values():
            if entry.config_position == "env":
                self._apply(entry.name.upper().strip(), entry.value)
        for part in list(self.command or ()):
            if VARIABLE.fullmatch(str(part)):
                self._apply(part[1:], self.env.get(part[1:]))

    def _apply(self, name: str, value: Value) -> None:
        """Set one variable; an absent value takes its option away with it."""
        absent = value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))
        if absent:
            self.env.pop(name, None)
        else:
            self.env[name] = str(value)
        command = self.command or []
        marker = f"${name}"
        while marker in command:
            index = command.index(marker)
            if not absent:
                command[index] = str(value)
                continue
            del command[index]
            if index and command[index - 1].startswith("-"):
                del command[index - 1]

    def run(self, run_params: Fields | None = None, **_ignored: Any) -> None:
        """Start the command in a process group of its own, its output going to a log file."""
        if self.context is None:
            raise ConfigurationError(f"{type(self).__name__}.run needs a launch context: call configure() first")
        self.before_run(run_params)
        if not self.command:
            raise ConfigurationError(f"{type(self).__name__} has no command: update_command() must set self.command")
        name = self.process_name or self.default_name
        self.process = self.context.launcher(
            [str(part) for part in self.command],
            name=name,
            env={key: str(value) for key, value in self.env.items()},
            cwd=Path(self.work_path),
            log_path=self.context.folder / f"{self.default_name}.log",
        )

    def health(self) -> ProcessState:
        """Say whether the process runs, ended well, or failed."""
        code = self.process.poll() if self.process else None
        if self.process is None or code is None:
            return ProcessState(stage=Stage.running if self.process else Stage.start)
        if code == 0:
            return ProcessState(stage=Stage.stop)
        return ProcessState(stage=Stage.error, info=f"exit code {code}; log: {self.run_log}")

    def stop(self, del_log: bool = True) -> None:  # noqa: FBT001, FBT002 - the seed's signature
        """End the process group; the log goes with it unless *del_log* is false."""
        if self.process is None:
            return
        self.process.stop(grace=self.stop_grace())
        if del_log:
            self.process.log_path.unlink(missing_ok=True)

    def stop_grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        return 10.0

    def end(self) -> None:
        """Stop in the plugin's own way, which may be none, and then what that left running; the log stays."""
        try:
            self.stop(**({"del_log": False} if _takes(self.stop, "del_log") else {}))
        finally:
            if self.process is not None:
                self.process.stop(grace=self.stop_grace())

    def backup(self) -> None:
        """Keep what the original kept under `bak_path`; the launch folder already holds the log."""

    def get_log(self) -> str | None:
        """Return the whole log."""
        if self.process is None or not self.process.log_path.exists():
            return None
        return self.process.log_path.read_text(encoding="utf-8", errors="replace")

    def get_last_log(self, number: int = 5) -> str | None:
        """Return the last *number* lines of the log."""
        return self.process.log_tail(number) if self.process else None


def _takes(function: Callable[..., object], name: str) -> bool:
    """Say whether *function* takes an argument *name*: the guide lists `stop()`, the original has `stop(del_log)`."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(entry.kind is entry.VAR_KEYWORD for entry in parameters.values())
