"""The files of a model, read without torch: its configuration, and whether its weights are whole."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytest_msprof.errors import CheckpointError, ModelNotFound

__all__ = ["Tensor", "check_weights", "read_config", "read_header", "tensors_of"]

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
MOST_HEADER = 100_000_000
"""Bytes of a header; the format itself allows no more."""


class Tensor(NamedTuple):
    """Where one weight lies, and what it is."""

    file: Path
    dtype: str
    """As safetensors spells it: BF16, F32, …"""
    shape: tuple[int, ...]
    nbytes: int


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of `config.json`.

    Raises `ModelNotFound` where there is no such folder, and `CheckpointError` where it holds no model.
    """
    if not folder.is_dir():
        raise ModelNotFound(
            f"no model in {str(folder)!r}: set model_path to its folder, or make a tiny one with "
            "'pytest-msprof make-models --output models'"
        )
    return _read_json(folder / CONFIG)


def check_weights(folder: Path) -> dict[str, Tensor]:
    """Return every weight in *folder* by name, once it is sure that all files are there and whole.

    Raises `CheckpointError` that names the file.
    """
    found: dict[str, Tensor] = {}
    for path in _shards(folder):
        found |= tensors_of(path)
    if (folder / INDEX).exists():
        promised: Mapping[str, str] = _read_json(folder / INDEX).get("weight_map", {})
        if missing := sorted(set(promised) - set(found)):
            raise CheckpointError(f"{folder / INDEX} names weights that no file has: {_listed(missing)}")
    return found


def tensors_of(path: Path) -> dict[str, Tensor]:
    """Return the weights of one safetensors file by name; raises `CheckpointError` where it is damaged."""
    header, begin = read_header(path)
    size = path.stat().st_size
    found = {}
    for name, entry in header.items():
        try:
            first, last = entry["data_offsets"]
            found[name] = Tensor(path, str(entry["dtype"]), tuple(entry["shape"]), last - first)
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{path} is damaged: the entry of {name!r} cannot be read") from None
        if not 0 <= first <= last or begin + last > size:
            raise CheckpointError(
                f"{path} is damaged: {name!r} should end at byte {begin + last}, but the file has {size}"
            )
    return found


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return what a safetensors file says about its weights, and the byte at which they begin."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MOST_HEADER:
                raise CheckpointError(f"{path} is no safetensors file: its header would have {length} bytes")
            header = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except (struct.error, ValueError):
        raise CheckpointError(f"{path} is damaged: its header cannot be read") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is damaged: its header is no table")
    header.pop("__metadata__", None)
    return header, 8 + length


def _shards(folder: Path) -> list[Path]:
    """Return the files of the weights; those that an index names must all be there."""
    if (folder / INDEX).exists():
        names = sorted(set(_read_json(folder / INDEX).get("weight_map", {}).values()))
        if missing := [name for name in names if not (folder / name).exists()]:
            raise CheckpointError(f"{folder} lacks {len(missing)} of {len(names)} files of weights: {_listed(missing)}")
        return [folder / name for name in names]
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise CheckpointError(f"no weights in {folder}: it has no *.safetensors (with_ckpt: false makes random ones)")
    return paths


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a table, but holds {found!r:.60}")
    return found


def _listed(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
