"""The hooks of pytest-msprof, for conftests and plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluggy import HookspecMarker

if TYPE_CHECKING:
    import pytest

    from pytest_msprof.registry import Registry
    from pytest_msprof.results import Run
    from pytest_msprof.side_by_side import SideBySide
    from pytest_msprof.sources import Source
    from pytest_msprof.summary import SessionSummary, TrialRecord

__all__: list[str] = []

hookspec = HookspecMarker("pytest")
"""pytest's own mark; a command needs it and no more of pytest."""


@hookspec(historic=True)
def pytest_msprof_register_simulators(registry: Registry) -> None:
    """Register engines: `registry.simulators.add(name, cls)`."""


@hookspec(historic=True)
def pytest_msprof_register_benchmarks(registry: Registry) -> None:
    """Register load generators: `registry.benchmarks.add(name, cls)`."""


@hookspec(historic=True)
def pytest_msprof_register_monitors(registry: Registry) -> None:
    """Register what watches beside a load: `registry.monitors.add(name, cls)`."""


@hookspec(historic=True)
def pytest_msprof_register_runners(registry: Registry) -> None:
    """Register ModelRunners: `registry.runners.add(name, cls)`."""


@hookspec(firstresult=True)
def pytest_msprof_settings(config: pytest.Config) -> Any:
    """Return the settings of the session, a `pytest_msprof.settings.Settings`; the first answer wins."""


@hookspec(firstresult=True)
def pytest_msprof_launch_service(simulator: Any, item: pytest.Item) -> Any:
    """Start the engine that *simulator* operates, in another way than a local process.

    It knows its launch context and carries the fields to start with. Return a
    `pytest_msprof.service.Service`, or None to leave it to the next.
    """


@hookspec(firstresult=True)
def pytest_msprof_service_ready(service: Any) -> bool | None:
    """Say whether a healthy service is ready; False is asked again, None leaves it to a warm-up request."""


@hookspec(firstresult=True)
def pytest_msprof_sampler(name: str, seed: int, constraints: tuple[str, ...]) -> Any:
    """Return the `optuna.samplers.BaseSampler` behind `search=NAME`, or None."""


def pytest_msprof_quality(service: Any, names: tuple[str, ...]) -> dict[str, float] | None:
    """Measure what *service* answers, 0 to 1: `{"gsm8k": 0.71}` becomes the metric `quality.gsm8k` of a trial.

    *names* are those that the study names as objective or limit. Asked once a launch, before the load.
    """


def pytest_msprof_trial_finished(study: str, trial: TrialRecord) -> None:
    """Learn that a trial was measured, found infeasible, left behind, or failed."""


def pytest_msprof_run_recorded(run: Run, folder: Path) -> None:
    """Learn that a run was sealed in *folder*."""


def pytest_msprof_update_environment(environment: dict[str, Any], service: Any) -> None:
    """Add facts to the environment that each run of *service* carries."""


def pytest_msprof_write_report(name: str, summary: SessionSummary, folder: Path) -> Path | None:
    """Write the report *name* (`--msprof-report`) into *folder* and return its path, or None."""


def pytest_msprof_terminal_lines(summary: SessionSummary) -> list[str] | None:
    """Return further lines for the terminal summary."""


@hookspec(firstresult=True)
def pytest_msprof_read_result(path: Path) -> Source | None:
    """Read a file or folder that `pytest-msprof compare` was given, or leave it to the next.

    Raise a `MsprofError` for a file that is yours and damaged.
    """


def pytest_msprof_write_comparison(comparison: SideBySide, folder: Path) -> list[Path] | None:
    """Write what `pytest-msprof compare` found into *folder*, and return the paths."""
