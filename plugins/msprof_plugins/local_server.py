"""What engines with an OpenAI API have in common when they are started on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine, Interpreter, find_interpreter
from pytest_msprof import OptimizerConfigField
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.interfaces import LaunchContext, SimulatorInterface

__all__ = ["LocalServer", "option"]

VISIBILITY = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")


class LocalServer(SimulatorInterface):
    """Starts one engine on 127.0.0.1; subclasses say which program, options and variables.

    A field without a value is left to the engine. A field that the engine does not know by name
    goes where its position says: `env`, or an option such as `--max-loras`.
    """

    engine: ClassVar[Engine]
    distributions: ClassVar[tuple[str, ...]] = ()
    """What `describe` gives the versions of; the first one installed is the engine's own."""
    defaults: ClassVar[Mapping[str, str]] = {}
    """Variables that are set unless the environment of the harness has them."""

    fields: ClassVar[tuple[OptimizerConfigField, ...]] = ()
    """What can be tuned."""

    def __init__(self, config: Any = None, bak_path: Path | None = None, **options: Any) -> None:
        super().__init__(bak_path=bak_path, process_name=self.engine.name, **options)
        self.config = config
        self._data_field = self.fields

    def configure(self, context: LaunchContext) -> None:
        """Learn where this launch happens, and prepare the environment for it."""
        super().configure(context)
        for name, value in self.defaults.items():
            self.env.setdefault(name, value)
        if self.tokenizer_path:
            self.env.setdefault("HF_HUB_OFFLINE", "1")
        if context.devices:
            self.env.update(dict.fromkeys(VISIBILITY, ",".join(context.devices)))

    @cached_property
    def interpreter(self) -> Interpreter:
        """The environment that holds the engine."""
        rootdir = self.context.rootdir if self.context else Path.cwd()
        return find_interpreter(self.engine, rootdir=rootdir, setting=getattr(self.config, "python", None))

    @property
    def model(self) -> str:
        """The model to serve: from the command line, else from the settings."""
        return (self.context.model if self.context else None) or self._told("model")

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self._told("host") or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port to listen on: from the settings, else the launch's own."""
        return int(self._told("port") or (self.context.port if self.context else 0))

    @property
    def base_url(self) -> str:
        """The health URL."""
        return f"http://{self.host}:{self.port}/health"

    @property
    def served_model(self) -> str:
        """The name that requests must give: the model as the command line names it."""
        return self._told("served_model_name") or self.model

    @property
    def tokenizer_path(self) -> Path | None:
        """The model's folder, None for a model that the engine fetches by name."""
        return Path(self.model) if self.model and Path(self.model).is_dir() else None

    @property
    def values(self) -> dict[str, Any]:
        """The fields that have a value."""
        return {entry.name: entry.value for entry in self.data_field if entry.value not in (None, "")}

    def preflight(self) -> None:
        """Raise `EngineNotInstalled` without the engine, `ConfigurationError` without a model."""
        self.update_command()

    def update_command(self) -> None:
        """Make the command line from the fields, anew at each call."""
        if not self.model:
            raise ConfigurationError(
                f"engine {self.engine.name!r} needs a model: give --msprof-model a folder, or make a tiny one "
                "with 'pytest-msprof make-models --output models'"
            )
        others = shlex.split(self._told("others"))
        self.command = [*self.interpreter.command, *self.arguments(), *self._further_options(), *others]

    def arguments(self) -> Sequence[str]:
        """Return what follows the program's name."""
        raise NotImplementedError

    def engine_version(self) -> str:
        """Return the version of the installed distribution."""
        found = self.interpreter.versions(*self.distributions)
        return next((found[name] for name in self.distributions if name in found), "")

    def describe(self) -> Mapping[str, Any]:
        """Say which versions run."""
        return {"version": self.engine_version(), "packages": self.interpreter.versions(*self.distributions)}

    def _told(self, name: str) -> str:
        """Return what the settings say about the command, empty where they say nothing."""
        return getattr(getattr(self.config, "command", None), name, "") or ""

    def _further_options(self) -> list[str]:
        given = (entry for entry in self.extra_field if entry.config_position.startswith("--"))
        return [
            part
            for entry in given
            if entry.value not in (None, "")
            for part in option(entry.config_position.removeprefix("--"), entry.value)
        ]


def option(name: str, value: Any, *, negated: bool = True) -> list[str]:
    """Spell one option; a false flag is negated, or absent where the engine has no negation."""
    flag = name.replace("_", "-")
    if value is True:
        return [f"--{flag}"]
    if value is False:
        return [f"--no-{flag}"] if negated else []
    return [f"--{flag}", str(value)]
