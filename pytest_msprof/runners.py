"""The ModelRunner of a session: one at a time, kept while tests ask for the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_msprof.ids import digest
from pytest_msprof.pool import ServicePool
from pytest_msprof.registry import Register

__all__ = ["RunnerPool"]

DEFAULT = "huggingface"


class RunnerPool:
    """Makes runners by the name in their settings, in the device slot of the session."""

    def __init__(self, register: Register, pool: ServicePool) -> None:
        self._register, self._pool = register, pool
        self._key = ""
        self._runner: Any = None

    def lend(self, settings: Any, *, model: str | None = None, round_: str = "") -> Any:
        """Return a runner with its model loaded: the one there is where everything is equal, else a new one.

        One whose model is lost, since a process of it died, is replaced: it says so by `is_loaded`.
        *settings* are a table of the runner's own kind or a plain dict, whose key `runner` names a
        registered one; *model* takes the place of their `model_path`. Raises `UnknownName` for a
        runner that is not registered, and what a runner raises that cannot load its model.
        """
        wanted = _with_model(settings, model)
        key = digest([dict(wanted), round_])
        if key != self._key or not getattr(self._runner, "is_loaded", self._runner is not None):
            self.close()
            self._pool.hold()
            runner = self._register.make(str(wanted.get("runner") or DEFAULT), runner_settings=wanted)
            runner.init_model()
            self._runner, self._key = runner, key
        return self._runner

    def close(self) -> None:
        """Let the runner go, and what it holds."""
        runner, self._runner, self._key = self._runner, None, ""
        if runner is not None:
            runner.close()


def _with_model(settings: Any, model: str | None) -> Any:
    if model is None:
        return settings
    if isinstance(settings, Mapping):
        return {**settings, "model_path": model}
    return settings.replaced(model_path=model)
