"""What a plugin implements: something that operates an engine, or something that loads one."""

from __future__ import annotations

import inspect
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.results import Measurement, PerformanceIndex, Value
from pytest_msprof.samples import Samples
from pytest_msprof.workload import Workload

__all__ = [
    "BenchmarkInterface",
    "LaunchContext",
    "LoadGenerator",
    "LoadJob",
    "ProcessHandle",
    "ProcessState",
    "Progress",
    "SimulatorInterface",
    "Stage",
    "Target",
]

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
    ) -> ProcessHandle: ...


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


class SimulatorInterface(CustomProcess, ABC):
    """Operates one engine: makes its command from the fields, says where it answers.

    Optional methods: `prepare()` before the start, `check_success()` as another readiness test.
    """

    default_name: ClassVar[str] = "engine"
    readiness_timeout: ClassVar[float] = 600.0
    """Seconds until a start counts as hanging."""

    @property
    @abstractmethod
    def base_url(self) -> str:
        """The URL that answers 200 when the engine is up, such as `http://127.0.0.1:8000/health`."""

    @abstractmethod
    def update_command(self) -> None:
        """Make `self.command` from `self.data_field`, anew at each call."""

    def update_config(self, params: Fields | None = None) -> bool:
        """Write the fields that stand in a config file; False when that failed.

        The file at `self.config.config_path` stays as it is: a private copy is edited, and
        `self.config_path` names it.
        """
        from pytest_msprof.config_files import edited_copy

        source = getattr(getattr(self, "config", None), "config_path", None)
        if source is None or self.context is None:
            return True
        self._config_path = edited_copy(Path(source), self.context.folder, params or ())
        return True

    @property
    def config_path(self) -> Path | None:
        """The private copy of the engine's config file, None before `update_config` or without one."""
        return getattr(self, "_config_path", None)

    @property
    def root_url(self) -> str:
        """The URL requests go to: `base_url` without its health path."""
        scheme, _, rest = self.base_url.partition("://")
        return f"{scheme}://{rest.split('/', 1)[0]}"

    @property
    def served_model(self) -> str:
        """The name of the model, as requests must give it."""
        command = getattr(getattr(self, "config", None), "command", None)
        name = getattr(command, "served_model_name", "") or getattr(command, "model", "")
        return name or (self.context.model if self.context and self.context.model else "")

    @property
    def tokenizer_path(self) -> Path | None:
        """Folder that holds `tokenizer.json`, None where nobody said."""
        model = getattr(getattr(getattr(self, "config", None), "command", None), "model", "")
        model = model or (self.context.model if self.context else None)
        return Path(model) if model and Path(model).is_dir() else None

    def request_options(self, output_tokens: int) -> Mapping[str, Value]:
        """Body fields that make this engine answer exactly *output_tokens* tokens, greedily."""
        return {"temperature": 0, "ignore_eos": True, "max_tokens": output_tokens}

    def preflight(self) -> None:
        """Raise `ConfigurationError` for what can be seen before the start: no program, no model."""

    def engine_version(self) -> str:
        """Return the engine's version without starting it, empty where nobody can say.

        Studies of different versions never mix.
        """
        return ""

    def describe(self) -> Mapping[str, Value]:
        """Facts for the run's environment: version, build; called on the ready engine."""
        return {}

    @contextmanager
    def enable_simulation_model(self) -> Iterator[bool]:
        """Run with a model of the model instead of the model; the seed's switch, without effect here."""
        yield True


@dataclass(frozen=True, slots=True)
class Target:
    """Where a load goes: a ready service, as a load generator sees it."""

    base_url: str
    model: str
    tokenizer: Path | None = None
    """Folder that holds `tokenizer.json`."""
    request_options: Callable[[int], Mapping[str, Value]] = field(default=lambda n: {"max_tokens": n})
    """Output tokens → body fields that force this length."""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load has come."""

    elapsed: float
    """Seconds since the load began."""
    running: int
    """Requests in flight."""
    completed: int
    failed: int
    output_tokens: int
    """Output tokens so far."""
    ttft_p50: float = math.nan
    """Median time to first token so far, s; NaN before the first."""
    ttft_p99: float = math.nan


@dataclass(frozen=True, slots=True)
class LoadJob:
    """One load to run."""

    workload: Workload
    target: Target
    folder: Path
    """A fresh folder for files of this load; what lies there is kept with the run."""
    repeat: int = 0
    step: int = 0
    """(repeat, step) select the request stream: each repeat and load step has new text."""
    fields: Mapping[str, Value] = field(default_factory=dict)
    """Load-side fields beyond the workload."""
    sink: Callable[[Samples], None] | None = None
    """Takes finished requests as they come, so that a killed run keeps them."""
    context: LaunchContext | None = None
    """For load generators that start a program."""
    progress: Callable[[Progress], None] | None = None
    """Told about four times a second how far the load has come; it must be quick."""
    stop: Callable[[], bool] | None = None
    """Asked about four times a second: True stops the load, and what was measured so far is returned as incomplete."""


class LoadGenerator(ABC):
    """A load generator that runs in this process (our own) or manages its own program."""

    @property
    def data_field(self) -> Fields:
        """Load-side fields: changing one never restarts a service."""
        return ()

    @abstractmethod
    def generate(self, job: LoadJob) -> Measurement:
        """Send the load and measure.

        Raises `LoadError` when nothing usable was measured; single failed requests are no error.
        """


class BenchmarkInterface(CustomProcess, ABC):
    """A benchmark program of the seed's interface: a command, then a performance index.

    Optional methods: `prepare()` before the start, `check_success()` after the end.
    """

    default_name: ClassVar[str] = "benchmark"

    @property
    def num_prompts(self) -> int:
        """Requests that one run sends, 0 where nobody said."""
        command = getattr(getattr(self, "config", None), "command", None)
        return int(getattr(self, "_num_prompts", None) or getattr(command, "num_prompts", 0) or 0)

    @num_prompts.setter
    def num_prompts(self, value: int) -> None:
        self._num_prompts = value

    @property
    def model_name(self) -> str:
        """Name of the model, empty where nobody said."""
        return ""

    @property
    def dataset_path(self) -> str:
        """Path of the dataset, empty where nobody said."""
        return ""

    @property
    def max_output_len(self) -> int:
        """Longest answer, 0 where nobody said."""
        return 0

    @abstractmethod
    def update_command(self) -> None:
        """Make `self.command` from `self.data_field`, anew at each call."""

    @abstractmethod
    def get_performance_index(self) -> PerformanceIndex:
        """Read the result of the run that just ended."""
