"""The engine `vllm`: `vllm serve`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from msprof_plugins.interpreters import Engine
from msprof_plugins.local_server import LocalServer, option
from pytest_msprof import OptimizerConfigField, choice, integers, steps
from pytest_msprof.http_client import ask
from pytest_msprof.redaction import redact

__all__ = ["FIELDS", "VLLM", "VllmSimulator", "as_config_file"]

VLLM = Engine(
    name="vllm",
    program="vllm",
    module="vllm.entrypoints.cli.main",
    install="python -m msprof_plugins.install_engine vllm",
)

FIELDS: tuple[OptimizerConfigField, ...] = (
    integers("max_num_seqs", 2, 128, log=True),
    integers("max_num_batched_tokens", 64, 2048, log=True),
    choice("dtype", ["bfloat16", "float32"]),
    steps("block_size", 32, 256, 32),
    choice("enforce_eager", [False, True]).marked(unset=False),
    choice("enable_prefix_caching", [False, True]).marked(unset=True),
    integers("stream_interval", 1, 16, log=True).marked(unset=1),
    integers("kv_cache_space", 1, 4),
    choice("omp_threads_bind", ["auto", "nobind", "0-1"]),
    choice("async_scheduling", [False, True]),
    integers("api_server_count", 1, 2).marked(unset=1),
    integers("max_model_len", 1024, 4096, log=True),
    integers("num_gpu_blocks_override", 128, 4096, log=True),
)
"""What can be tuned, with ranges for a small model on a small machine; a study may set its own."""

VARIABLES = {"kv_cache_space": "VLLM_CPU_KVCACHE_SPACE", "omp_threads_bind": "VLLM_CPU_OMP_THREADS_BIND"}
CONFIG_FILE = "config.yaml"
DEVELOPER = "VLLM_SERVER_DEV_MODE"
ONE_WAY_FLAGS = ("enforce_eager",)


class VllmSimulator(LocalServer):
    """Operates `vllm serve`, on processors as on accelerators.

    On processors the KV cache gets 1 GiB unless the field or the environment says otherwise, where
    vLLM would take most of the machine's memory.
    """

    default_name: ClassVar[str] = "vllm"
    engine = VLLM
    distributions = ("vllm", "vllm-cpu", "torch", "transformers")
    defaults: ClassVar[Mapping[str, str]] = {
        "DO_NOT_TRACK": "1",
        "PYTHONSAFEPATH": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
    }

    fields = FIELDS

    def __init__(self, config: Any = None, bak_path: Path | None = None, **options: Any) -> None:
        super().__init__(config or _settings(), bak_path, **options)

    def arguments(self) -> Sequence[str]:
        """Return `serve` with its options; two fields go into variables instead."""
        arguments = ["serve", self.model, "--host", self.host, "--port", str(self.port)]
        if self.served_model != self.model:
            arguments += ["--served-model-name", self.served_model]
        for name, value in self.values.items():
            if name in VARIABLES:
                self.env[VARIABLES[name]] = str(value)
            else:
                arguments += option(name, value, negated=name not in ONE_WAY_FLAGS)
        return arguments

    def update_config(self, params: Iterable[OptimizerConfigField] | None = None) -> bool:
        """Write the options as a file for `vllm serve --config`, too: what a deployment keeps.

        The launch itself goes by the command line.
        """
        if not super().update_config(tuple(params or ())):
            return False
        if self.config_path is None and self.context is not None:
            self.update_command()
            written = redact([str(part) for part in self.command or ()])
            self._config_path = self.context.folder / CONFIG_FILE
            self._config_path.write_text(as_config_file(written[written.index("serve") + 1 :]), encoding="utf-8")
        return True

    def reset_cache(self) -> bool:
        """Empty the prefix cache; vLLM lets nobody do that unless VLLM_SERVER_DEV_MODE is set."""
        return self.env.get(DEVELOPER) == "1" and ask(f"{self.root_url}/reset_prefix_cache", {}).ok

    def describe(self) -> Mapping[str, Any]:
        """Say what the engine says about itself, and which packages it runs on."""
        answer = ask(f"{self.root_url}/version")
        build = answer.body.get("version", "") if answer.ok and isinstance(answer.body, dict) else ""
        return {**super().describe(), "build": build}


def as_config_file(arguments: Sequence[str]) -> str:
    """Return the arguments of `vllm serve` as the YAML that its `--config` reads: the model, then one option a line.

    A scalar of JSON is one of YAML; numbers and flags stand bare, and an object is a JSON text as on the command line.
    """
    model, *rest = arguments
    lines = [f"model: {json.dumps(model)}"]
    while rest:
        flag = rest.pop(0).removeprefix("--")
        if rest and not rest[0].startswith("--"):
            lines.append(f"{flag}: {_scalar(rest.pop(0))}")
        else:
            lines.append(f"{flag.removeprefix('no-')}: {json.dumps(not flag.startswith('no-'))}")
    return "\n".join([*lines, ""])


def _scalar(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return json.dumps(text)
    return text


def _settings() -> Any:
    """Return the `[vllm]` table where a settings file or the seed's command is in play, else None."""
    from pytest_msprof import get_settings
    from pytest_msprof.config_toml import config_files, session

    return get_settings().vllm if config_files() or session().searched else None
