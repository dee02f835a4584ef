"""The engine `runner`: a ModelRunner behind an endpoint of its own, to be measured beside other engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.local_server import LocalServer, option
from pytest_msprof import OptimizerConfigField, choice, integers
from pytest_msprof.errors import EngineNotInstalled

__all__ = ["FIELDS", "RunnerSimulator"]

FIELDS: tuple[OptimizerConfigField, ...] = (
    choice("exe_mode", ["eager", "ge_graph"]),
    integers("batch_size", 1, 64, log=True).marked(unset=16),
    integers("prefill_tokens", 64, 8192, log=True).marked(unset=2048),
    integers("max_model_len", 512, 4096, log=True),
    choice("dtype", ["bfloat16", "float32"]),
    choice("attn_implementation", ["sdpa", "eager"]),
    integers("omp_num_threads", 1, 8),
)
"""What can be tuned, with ranges for a small model on a small machine; a study may set its own."""


class RunnerSimulator(LocalServer):
    """Operates `python -m msprof_runners.serving`.

    Any other key of a runner's settings is an option, too: a field with the position `--moe-tp-size`.
    One thread unless the field or the environment says otherwise, as for `transformers`.
    """

    default_name: ClassVar[str] = "runner"
    readiness_timeout: ClassVar[float] = 300.0
    engine = Engine(
        name="runner",
        program="",
        module="",
        install="python -m msprof_plugins.install_engine runners",
        libraries=("torch", "transformers", "starlette", "uvicorn"),
        folder="runners",
    )
    distributions = ("torch", "transformers", "starlette", "uvicorn")
    defaults: ClassVar[Mapping[str, str]] = {"OMP_NUM_THREADS": "1"}
    fields = FIELDS

    def arguments(self) -> Sequence[str]:
        """Return the program of the server, by its path, and its options."""
        arguments = ["-P", str(_program()), self.model, "--host", self.host, "--port", str(self.port)]
        if self.served_model != self.model:
            arguments += ["--served-model-name", self.served_model]
        for name, value in self.values.items():
            if name == "omp_num_threads":
                self.env["OMP_NUM_THREADS"] = str(value)
            else:
                arguments += option(name, value)
        return arguments


def _program() -> Path:
    """Return the server's file: its environment need not have this package."""
    spec = find_spec("msprof_runners")
    if spec is None or not spec.submodule_search_locations:
        raise EngineNotInstalled("engine 'runner' needs the package msprof_runners, which is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "serving" / "__main__.py"
