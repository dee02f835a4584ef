"""What can go wrong, one class a mistake, so that a caller can tell them apart.

MsprofError
├── ConfigurationError          what a user typed cannot be used
│   ├── UnknownName             no engine, benchmark, field or metric of that name
│   ├── InvalidSpace            a search space contradicts itself
│   ├── InvalidWorkload         a workload asks for something impossible
│   ├── InvalidSettings         a settings file cannot be read as meant
│   ├── EngineNotInstalled      the engine's program was not found
│   ├── ModelNotFound           the model's folder was not found
│   ├── CheckpointError         a model's files are missing, damaged or of another model
│   ├── DeviceUnavailable       the device that was asked for is not there
│   └── PluginError             a plugin could not be loaded or adapted
├── ServiceError                an engine did not do its part; knows the class and the log
│   ├── ServiceNotReady         it still runs, but does not answer
│   └── ServiceExited           it ended before it should
├── OutOfMemory                 a model, or what it was asked for, does not fit the memory
├── LoadError                   a load generator measured nothing that can be used
├── MetricMissing               a run does not have the metric that was asked for
│   └── SampleTooSmall          too few values for this statistic
├── StoreError                  a stored file cannot be read or written
│   └── SchemaTooNew            it was written by a newer version
└── Regression                  a comparison found something worse (an AssertionError too)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from pydantic import ValidationError

    from pytest_msprof.interfaces import ProcessHandle

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "DeviceUnavailable",
    "EngineNotInstalled",
    "InvalidSettings",
    "InvalidSpace",
    "InvalidWorkload",
    "LoadError",
    "MetricMissing",
    "ModelNotFound",
    "MsprofError",
    "OutOfMemory",
    "PluginError",
    "Regression",
    "SampleTooSmall",
    "SchemaTooNew",
    "ServiceError",
    "ServiceExited",
    "ServiceNotReady",
    "StoreError",
    "UnknownName",
]

CAUSE_LINES = 1000
"""How far up a log its root cause is looked for; vLLM prints three tracebacks after it."""


class MsprofError(Exception):
    """The root of every error that this package raises on purpose."""


class ConfigurationError(MsprofError):
    """Something a user typed cannot be used; under pytest it becomes a `pytest.UsageError`."""


class UnknownName(ConfigurationError):
    """A name is not registered; the message lists the nearest and the possible ones, and *otherwise* what helps."""

    def __init__(self, kind: str, name: str, known: Iterable[str], otherwise: str = "") -> None:
        possible = sorted(known)
        near = difflib.get_close_matches(name, possible, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(possible) or "none"
        super().__init__(f"unknown {kind} {name!r} (known: {listed}){hint}{otherwise and '; ' + otherwise}")
        self.kind, self.name, self.near = kind, name, near


class InvalidSpace(ConfigurationError):
    """A search space contradicts itself: swapped bounds, an empty choice, a default outside."""


class InvalidWorkload(ConfigurationError):
    """A workload asks for something that cannot be sent."""


class InvalidSettings(ConfigurationError):
    """A settings file holds a key or a value that cannot be read as meant."""

    @classmethod
    def of(cls, error: ValidationError, most: int | None = None) -> Self:
        """Return the first problem that pydantic found, with at most *most* characters of the value."""
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "settings"
        return cls(f"settings key {key!r}: {problem['msg'].lower()}, but got {repr(problem['input'])[:most]}")


class EngineNotInstalled(ConfigurationError):
    """The engine's program was not found; the message carries the install command."""


class ModelNotFound(ConfigurationError):
    """The model's folder was not found."""


class CheckpointError(ConfigurationError):
    """A model's files are missing, damaged, or belong to another model; the message names file or weight."""


class DeviceUnavailable(ConfigurationError):
    """The device that was asked for is not there, or its software cannot be loaded."""


class PluginError(ConfigurationError):
    """A plugin could not be loaded or adapted; the message names its distribution."""


class ServiceError(MsprofError):
    """An engine did not do its part.

    *failure* is the class (`pytest_msprof.failures`), *log_tail* the end of the engine's log.
    """

    def __init__(self, message: str, *, failure: str = "other", log_tail: str = "") -> None:
        super().__init__(message)
        self.failure, self.log_tail = failure, log_tail


class ServiceNotReady(ServiceError):
    """The engine still runs, but did not answer before the deadline."""

    def __init__(self, message: str, *, failure: str = "timeout", log_tail: str = "") -> None:
        super().__init__(message, failure=failure, log_tail=log_tail)


class ServiceExited(ServiceError):
    """The engine ended before it should."""

    @classmethod
    def from_process(cls, process: ProcessHandle, *, under_load: bool = False) -> ServiceExited:
        """Describe an ended *process*: exit code, class of failure, last words."""
        from pytest_msprof.failures import CRASHED_UNDER_LOAD, classify, root_cause

        log = process.log_tail(CAUSE_LINES)
        failure = classify(log, process.returncode)
        if under_load and failure == "does not start":
            failure = CRASHED_UNDER_LOAD
        message = f"{process.name} ended with exit code {process.returncode} ({failure}): {root_cause(log)}"
        return cls(message, failure=failure, log_tail=process.log_tail())


class OutOfMemory(MsprofError):
    """A model, or what it was asked for, does not fit the memory of the device or the host."""


class LoadError(MsprofError):
    """A load generator measured nothing that can be used: wrong exit, stale or empty result.

    *failure* is the class; *log_tail* the end of the engine's log where it still runs: a hang shows there.
    """

    failure = "client errors"
    log_tail = ""


class MetricMissing(MsprofError):
    """A run does not have the metric that was asked for."""

    failure = "metric missing"


class SampleTooSmall(MetricMissing):
    """A statistic needs more values than there are: p99 needs 100."""


class StoreError(MsprofError):
    """A stored file cannot be read or written."""


class SchemaTooNew(StoreError):
    """A stored file was written by a newer version of this package."""


class Regression(MsprofError, AssertionError):
    """A comparison found something worse than the tolerance, or nothing comparable."""
