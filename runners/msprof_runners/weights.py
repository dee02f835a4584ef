"""Loading the weights of a transformers model, whole, and knowing that every one of them arrived."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError

from msprof_runners.checkpoint import check_weights
from pytest_msprof.errors import CheckpointError, UnknownName

__all__ = ["architecture", "bound", "check_loaded", "load_config", "load_whole", "make_random"]

MOST_NAMED = 5


def load_config(folder: Path, content: Mapping[str, Any]) -> Any:
    """Return transformers' configuration of the model in *folder*, whose `config.json` holds *content*.

    Raises `UnknownName` for a kind of model that transformers does not have.
    """
    kind = str(content.get("model_type", ""))
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if kind not in known:
        raise UnknownName("model_type", kind, known)
    try:
        return transformers.AutoConfig.from_pretrained(folder)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise CheckpointError(f"{folder / 'config.json'} cannot be used: {_one_line(error)}") from None


def architecture(config: Any) -> Any:
    """Return the class that `config.json` names; raises `UnknownName` where transformers does not have it."""
    name = next(iter(config.architectures or ()), "")
    known = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    causal = {cls for entry in known.values() for cls in ([entry] if isinstance(entry, str) else entry)}
    if name not in causal:
        raise UnknownName("architecture of a causal language model", name, causal)
    return getattr(transformers, name)


def load_whole(cls: Any, folder: Path, config: Any, *, dtype: str, **options: Any) -> Any:
    """Return a model of class *cls* with every weight of *folder*.

    Raises `CheckpointError` for files that are missing or damaged, for weights that the model has
    and the files lack, or the other way round, and for weights of another shape.
    """
    check_weights(folder)
    asked = {"dtype": dtype, "use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
    try:
        model, info = bound(cls, options).from_pretrained(folder, config=config, **asked)
    except (RuntimeError, ValueError, OSError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error).lower():
            raise
        raise CheckpointError(f"the weights in {folder} cannot be loaded: {_one_line(error)}") from None
    check_loaded(info, f"{folder}", cls.__name__)
    return model.eval()


def check_loaded(info: Mapping[str, Any], folder: str, cls: str) -> None:
    """Raise `CheckpointError` for what *info* lists under `missing_keys`, `unexpected_keys`, `mismatched_keys`."""
    for what, key in (
        ("lacks", "missing_keys"),
        ("has unexpected", "unexpected_keys"),
        ("has misshapen", "mismatched_keys"),
    ):
        if names := sorted(_spelled(entry) for entry in info.get(key) or ()):
            raise CheckpointError(f"{folder} {what} weights for {cls}: {_listed(names)}")


def _spelled(entry: Any) -> str:
    """Write the name of a weight; of a misshapen one its shape in the file, and the one that is wanted."""
    if isinstance(entry, str):
        return entry
    name, found, wanted = entry
    return f"{name} {tuple(found)}, wanted {tuple(wanted)}"


def make_random(cls: Any, config: Any, *, dtype: str, seed: int, device: str, **options: Any) -> Any:
    """Return a model of the shapes of *config* with random weights, made on *device*."""
    torch.manual_seed(seed)
    wanted = config.dtype or torch.float32 if dtype == "auto" else getattr(torch, dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(wanted)
    try:
        with torch.device(device):
            return bound(cls, options)(config).eval()
    finally:
        torch.set_default_dtype(before)


def bound(cls: Any, options: Mapping[str, Any]) -> Any:
    """Return *cls*, made with those *options* that it takes: stock classes of transformers know no runner.

    `from_pretrained` would hand an option on, but keep it among those of generation too, where it must be JSON.
    """
    parameters = inspect.signature(cls.__init__).parameters
    own = {name: value for name, value in options.items() if name in parameters}
    if not own:
        return cls

    def make(self: Any, config: Any) -> None:
        cls.__init__(self, config, **own)

    return type(cls.__name__, (cls,), {"__init__": make, "__module__": cls.__module__})


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + rest


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
