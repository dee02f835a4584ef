"""The engine `triton`: a Triton Inference Server with one model, whose configuration changes while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.local_server import LocalServer, option
from pytest_msprof import OptimizerConfigField, choice, integers
from pytest_msprof.errors import ConfigurationError, ServiceError
from pytest_msprof.http_client import ask
from pytest_msprof.slots import free_port

__all__ = ["FIELDS", "TritonSimulator", "configuration"]

FIELDS: tuple[OptimizerConfigField, ...] = (
    integers("max_batch_size", 1, 64, log=True).marked(live=True),
    choice("dynamic_batching", [False, True]).marked(live=True),
    integers("max_queue_delay_microseconds", 1, 20000, log=True, when="dynamic_batching").marked(live=True),
    integers("instance_count", 1, 4).marked(live=True),
    integers("http_thread_count", 1, 32, log=True).marked(unset=8),
)
"""What can be tuned; all but the server's own threads stand in the model's configuration."""

SETTINGS = "config.pbtxt"
LOADING = 300.0
"""Seconds that a model may take to load."""


class TritonSimulator(LocalServer):
    """Operates `tritonserver` with the model in the folder `--msprof-model`: its `config.pbtxt` and its versions.

    The model is loaded by the server's own control, with the configuration in the request, so the file
    stays as it is, and another configuration needs no start.
    """

    default_name: ClassVar[str] = "triton"
    readiness_timeout: ClassVar[float] = 300.0
    engine = Engine(
        name="triton",
        program="tritonserver",
        module="",
        install="python -m msprof_plugins.install_engine triton",
    )
    distributions = ("nvidia-pytriton",)
    fields = FIELDS

    def __init__(self, config: Any = None, bak_path: Path | None = None, **options: Any) -> None:
        super().__init__(config, bak_path, **options)
        self._own: dict[str, Any] = {}
        """The model's configuration as the server read it from its file."""

    def arguments(self) -> Sequence[str]:
        """Return the options of the server, which loads no model by itself but this one."""
        folder = Path(self.model).absolute()
        if not (folder / SETTINGS).is_file():
            raise ConfigurationError(f"engine 'triton' needs a model of its own: {folder / SETTINGS} is not there")
        arguments = ["--model-repository", str(folder.parent), "--model-control-mode", "explicit"]
        arguments += ["--load-model", folder.name, "--disable-auto-complete-config", "--allow-grpc", "false"]
        arguments += ["--http-address", self.host, "--http-port", str(self.port)]
        arguments += ["--metrics-address", self.host, "--metrics-port", str(self._metrics_port)]
        threads = self.values.get("http_thread_count")
        return arguments if threads is None else [*arguments, *option("http_thread_count", threads)]

    @property
    def base_url(self) -> str:
        """The health URL."""
        return f"http://{self.host}:{self.port}/v2/health/ready"

    @property
    def metrics_url(self) -> str:
        """The URL of the server's counters, on a port of their own."""
        return f"http://{self.host}:{self._metrics_port}/metrics"

    @property
    def served_model(self) -> str:
        """The folder's name."""
        return Path(self.model).name

    @property
    def tokenizer_path(self) -> Path | None:
        """The model's folder where a tokenizer lies in it."""
        folder = Path(self.model) if self.model else None
        return folder if folder and (folder / "tokenizer.json").is_file() else None

    def check_success(self) -> bool:
        """Say whether the server is ready, and has the model with this launch's configuration."""
        try:
            if not ask(self.base_url, timeout=2.0).ok:
                return False
        except OSError:
            return False
        if not self._own:
            self._own = self._configuration()
            if configuration(self._own, self.values) != self._own:
                self._load(self.values)
        return True

    def reconfigure(self, params: Iterable[OptimizerConfigField]) -> bool:
        """Load the model again with another configuration, on the server that runs."""
        self._load({entry.name: entry.value for entry in params if entry.value is not None})
        return True

    def describe(self) -> Mapping[str, Any]:
        """Say which server answers."""
        return {**super().describe(), "build": ask(f"{self.root_url}/v2").body.get("version", "")}

    @cached_property
    def _metrics_port(self) -> int:
        return free_port()

    def _configuration(self) -> dict[str, Any]:
        return dict(ask(f"{self.root_url}/v2/models/{self.served_model}/config").body)

    def _load(self, values: Mapping[str, Any]) -> None:
        wanted = {"parameters": {"config": json.dumps(configuration(self._own, values))}}
        url = f"{self.root_url}/v2/repository/models/{self.served_model}/load"
        answer = ask(url, wanted, timeout=LOADING)
        if not answer.ok:
            raise ServiceError(f"triton refused {dict(values)}: {answer.text}", failure="bad option")


def configuration(own: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration *own* of a model with *values* of `FIELDS` in it; what they leave out stays.

    Preferred sizes of batches go where batches change: those of the file would be refused, or mean something else.
    """
    found = dict(own)
    batching = dict(own.get("dynamic_batching") or {})
    if "max_batch_size" in values:
        found["max_batch_size"] = values["max_batch_size"]
        batching.pop("preferred_batch_size", None)
    if "max_queue_delay_microseconds" in values:
        batching["max_queue_delay_microseconds"] = values["max_queue_delay_microseconds"]
    is_batching = values.get("dynamic_batching", "dynamic_batching" in own)
    found.pop("dynamic_batching", None)
    if is_batching:
        found["dynamic_batching"] = batching
    if "instance_count" in values:
        groups = own.get("instance_group") or [{}]
        found["instance_group"] = [{**group, "count": values["instance_count"]} for group in groups]
    return found
