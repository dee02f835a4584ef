"""What a plugin implements: something that operates an engine, or something that loads one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pytest_msprof.program import CustomProcess, Fields, LaunchContext, ProcessHandle, ProcessState, Stage
from pytest_msprof.results import Measurement, PerformanceIndex, Value
from pytest_msprof.samples import Samples
from pytest_msprof.workload import Workload

__all__ = [
    "BenchmarkInterface",
    "CustomProcess",
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
    def metrics_url(self) -> str:
        """Where the engine tells what it counts; empty is `/metrics` below `root_url`."""
        return ""

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

    def reset_cache(self) -> bool:
        """Make the engine forget the prompts of earlier loads; asked between loads, False where it cannot."""
        return False

    def reconfigure(self, params: Fields) -> bool:
        """Give the engine that runs the fields *params*, of which only live ones are new; False where it cannot.

        It is started anew then. A live field that is absent goes back to the engine's own value. Raises
        `ServiceError` for what the engine refuses.
        """
        del params
        return False

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
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further headers of every request; they stand in no file."""


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
