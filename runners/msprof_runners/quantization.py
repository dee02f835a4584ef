"""Which quantized checkpoints run here, read from the `quantization_config` of `config.json`. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from pytest_msprof.errors import ConfigurationError

__all__ = ["check_quantization"]


class Kind(NamedTuple):
    """One way to store weights."""

    name: str
    """What it is called in results."""
    devices: tuple[str, ...]


TORCHAO = {
    "Int8WeightOnlyConfig": Kind("int8_weight_only", ("cpu", "cuda")),
    "Float8WeightOnlyConfig": Kind("float8_weight_only", ("cpu", "cuda")),
}
"""Weights alone are quantized, and what multiplies them is not: torchao's own names."""


def check_quantization(config: Mapping[str, Any], *, device: str, model: str) -> str | None:
    """Return what the weights are quantized as, None for an empty *config*.

    *device* is a kind: cpu, cuda or npu. Raises `ConfigurationError` for what cannot run on it, with
    the model's folder *model* and what is possible there.
    """
    if not config:
        return None
    method = str(config.get("quant_method") or "unnamed").lower().replace("_", "-")
    what = f"quantization {method!r}"
    kind = None
    if method == "torchao":
        type_ = _torchao_type(config)
        what, kind = f"{what} with {type_!r}", TORCHAO.get(type_)
    if kind is None or device not in kind.devices:
        raise ConfigurationError(f"{what} of {model} is not supported on {device} (possible: {_possible(device)})")
    if find_spec("torchao") is None:
        raise ConfigurationError(f"{what} of {model} needs torchao: pip install 'pytest-msprof[quantization]'")
    return kind.name


def _torchao_type(config: Mapping[str, Any]) -> str:
    """Return the class of torchao's configuration that all weights have; others have a table for each module."""
    found = config.get("quant_type")
    if isinstance(found, Mapping):
        found = found.get("default", found)
    return str(found.get("_type", "") if isinstance(found, Mapping) else found or "")


def _possible(device: str) -> str:
    names = [name for name, kind in TORCHAO.items() if device in kind.devices]
    return f"torchao with {' or '.join(names)}" if names else "none"
