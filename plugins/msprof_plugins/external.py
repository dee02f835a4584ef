"""The engine `external`: a service that somebody else started, known by its URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from msprof_plugins.transformers_serve import forced_length
from pytest_msprof import OptimizerConfigField, SimulatorInterface
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.http_client import Answer, ask
from pytest_msprof.redaction import redact

__all__ = ["API_KEY", "ExternalSimulator"]

API_KEY = "MSPROF_API_KEY"
"""The variable that holds the key of the service."""

REFUSED = (400, 422)


class ExternalSimulator(SimulatorInterface):
    """Measures a running service: starts nothing, stops nothing, changes nothing.

    Its model is the one that the service lists, or `--msprof-model` where it lists several or none.
    How it can be made to answer at a given length is found out by asking.
    """

    default_name: ClassVar[str] = "external"
    readiness_timeout: ClassVar[float] = 30.0

    def __init__(self, bak_path: Path | None = None, **options: Any) -> None:
        super().__init__(bak_path=bak_path, process_name="external", **options)
        self.api_key = os.environ.get(API_KEY) or None
        self.headers: Mapping[str, str] = {}
        """Further headers of every request."""
        self._data_field: tuple[OptimizerConfigField, ...] = ()

    @property
    def base_url(self) -> str:
        """The URL as it was given."""
        if self.context is None or not self.context.base_url:
            raise ConfigurationError("engine 'external' needs the URL of a service: give --msprof-base-url")
        return self.context.base_url

    @property
    def root_url(self) -> str:
        """The URL below which `/v1` lies."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    def preflight(self) -> None:
        """Raise `ConfigurationError` without a URL."""
        self.base_url  # noqa: B018 - asking is the test

    def update_command(self) -> None:
        """There is no command."""
        self.command = []

    def run(self, run_params: tuple[OptimizerConfigField, ...] | None = None, **_ignored: Any) -> None:
        """Start nothing; a field that would need a start is an error."""
        if run_params:
            names = ", ".join(entry.name for entry in run_params)
            raise ConfigurationError(f"a running service cannot be given {names}: only the load can change")

    def check_success(self) -> bool:
        """Say whether the service answers: its health URL, or its list of models."""
        return any(self._answers(path) for path in ("/health", "/v1/models"))

    @property
    def served_model(self) -> str:
        """The model's name, as the service lists it."""
        return self._model_name

    @cached_property
    def _model_name(self) -> str:
        asked = (self.context.model if self.context else None) or ""
        listed = _listed(self._ask("/v1/models"))
        if asked in listed:
            return asked
        if len(listed) == 1:
            return listed[0]
        if asked and not listed:
            return asked
        found = f"lists {', '.join(listed)}" if listed else "lists no model"
        raise ConfigurationError(
            f"{redact(self.root_url)} {found}: give --msprof-model (or --model, to `pytest-msprof load`) the name that "
            f"requests must carry"
        )

    @cached_property
    def dialect(self) -> str:
        """The way to force a length: `openai` (ignore_eos), `transformers`, or `plain` (no way known)."""
        return next((name for name in ("openai", "transformers") if self._accepts(name)), "plain")

    def request_options(self, output_tokens: int) -> Mapping[str, Any]:
        """Body fields that force the length, as far as this service lets itself be forced."""
        return self._options(self.dialect, output_tokens)

    def describe(self) -> Mapping[str, Any]:
        """Say which dialect it speaks, and its version where it tells one."""
        facts: dict[str, Any] = {"dialect": self.dialect}
        answer = self._ask("/version")
        if answer.ok and isinstance(answer.body, dict):
            facts["version"] = str(answer.body.get("version", ""))
        return facts

    def stop(self, del_log: bool = True) -> None:  # noqa: FBT001, FBT002 - the seed's signature
        """Leave it running."""

    def _options(self, dialect: str, output_tokens: int) -> Mapping[str, Any]:
        if dialect == "openai":
            return super().request_options(output_tokens)
        if dialect == "transformers":
            return forced_length(output_tokens)
        return {"temperature": 0, "max_tokens": output_tokens}

    def _accepts(self, dialect: str) -> bool:
        body = {"model": self.served_model, "prompt": "Hello", **self._options(dialect, 1)}
        return self._ask("/v1/completions", body, timeout=60.0).status not in REFUSED

    def _answers(self, path: str) -> bool:
        try:
            return self._ask(path).ok
        except OSError:
            return False

    def _ask(self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Answer:
        return ask(f"{self.root_url}{path}", body, key=self.api_key, headers=self.headers, timeout=timeout)


def _listed(answer: Answer) -> list[str]:
    entries = answer.body.get("data") if answer.ok and isinstance(answer.body, dict) else None
    return [str(entry["id"]) for entry in entries or () if isinstance(entry, dict) and "id" in entry]
