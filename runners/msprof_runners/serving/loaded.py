"""The runner that is served: its class by name, its settings from a file and the command line, its model loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msprof_runners import DividedRunner, RunnerSettings, pytest_msprof_register_runners
from msprof_runners.world import is_joined
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.loading import load_plugins
from pytest_msprof.registry import Registry

if TYPE_CHECKING:
    from msprof_runners.model_runner import ModelRunner

__all__ = ["load"]


def load(
    model: str, changes: Mapping[str, Any], *, file: str | None = None, longest: int | None = None
) -> ModelRunner | DividedRunner:
    """Return a runner with the model of the folder *model*, by the settings in *file* and *changes* of them.

    *longest* is the most tokens of prompt and answer together. An answer ends where its request says,
    so the runner itself ignores ends. Raises what a runner raises that cannot load its model.
    """
    limits = {"input_max_len": longest, "max_position_embeddings": longest} if longest else {}
    wanted = {"model_name": model, "model_path": model, **limits, **changes, "ignore_eos": True}
    if file:
        settings = RunnerSettings.from_yaml(file, **wanted)
    else:
        settings = RunnerSettings.of({"model_name": model}).replaced(**wanted)
    if settings.world_size > 1 and is_joined():
        raise ConfigurationError("a server starts the processes of its model itself: run it without torchrun")
    runner: ModelRunner | DividedRunner = _registered().runners.make(settings.runner, runner_settings=settings)
    if isinstance(runner, DividedRunner):
        runner.check_serving()
    runner.init_model()
    return runner


def _registered() -> Registry:
    """Return the built-in runners, and those of plugins installed here."""
    registry = Registry()
    pytest_msprof_register_runners(registry)

    def register(plugin: object, _name: str) -> None:
        if callable(hook := getattr(plugin, "pytest_msprof_register_runners", None)):
            hook(registry=registry)

    for error in load_plugins(register):
        raise error
    return registry
