"""ModelRunner: one runner for CPU, CUDA and Ascend NPU. Nothing here imports torch before a runner is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker

if TYPE_CHECKING:
    from msprof_runners.divided_runner import DividedRunner
    from msprof_runners.gpt_oss import GptOssRunner
    from msprof_runners.hugging_face import HuggingFaceRunner
    from msprof_runners.model_runner import ModelRunner
    from msprof_runners.runner_settings import RunnerSettings
    from pytest_msprof.registry import Registry

__all__ = [
    "DividedRunner",
    "GptOssRunner",
    "HuggingFaceRunner",
    "ModelRunner",
    "RunnerSettings",
    "pytest_msprof_register_runners",
]

_HOME_OF = {
    "DividedRunner": "divided_runner",
    "GptOssRunner": "gpt_oss",
    "HuggingFaceRunner": "hugging_face",
    "ModelRunner": "model_runner",
    "RunnerSettings": "runner_settings",
}

hookimpl = HookimplMarker("pytest")
"""pytest's own mark; a command needs it and no more of pytest."""


@hookimpl
def pytest_msprof_register_runners(registry: Registry) -> None:
    """Register the runners."""
    from msprof_runners.gpt_oss import GptOssRunner
    from msprof_runners.hugging_face import HuggingFaceRunner

    registry.runners.add("gpt_oss", GptOssRunner)
    registry.runners.add("huggingface", HuggingFaceRunner)


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used."""
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
