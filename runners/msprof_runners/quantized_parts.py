"""Weights that torchao has quantized, of which a process reads its part with the scales that go with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from msprof_runners.checkpoint import Tensor
from pytest_msprof.errors import ConfigurationError

__all__ = ["Pieces", "adapt_scales", "pieces_of", "quantized_part", "with_whole_names"]

PIECE = re.compile(r"(.*)\._([^.]+?)_(qdata|scale|zero_point)")
"""How torchao calls what a weight is made of in a file: `layer._weight_qdata` of `layer.weight`."""
NUMBERS = "qdata"

Pieces = Mapping[str, Tensor]
"""What one weight is made of: what torchao calls it → where it lies."""


def pieces_of(found: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the quantized weights among *found* by their own names."""
    pieces: dict[str, dict[str, Tensor]] = {}
    for name, entry in found.items():
        if match := PIECE.fullmatch(name):
            pieces.setdefault(f"{match[1]}.{match[2]}", {})[match[3]] = entry
    return {name: kinds for name, kinds in pieces.items() if NUMBERS in kinds}


def with_whole_names(found: Mapping[str, Tensor], pieces: Mapping[str, Pieces]) -> dict[str, Tensor]:
    """Return *found* with each quantized weight as one, in the shape of its numbers."""
    parts = {_piece(name, kind) for name, kinds in pieces.items() for kind in kinds}
    plain = {name: entry for name, entry in found.items() if name not in parts}
    return plain | {name: kinds[NUMBERS] for name, kinds in pieces.items()}


def quantized_part(name: str, pieces: Pieces, places: Sequence[slice], file: Any) -> torch.Tensor:
    """Read *places* of the quantized weight *name* from the open *file*.

    Raises `ConfigurationError` where a place begins within numbers that share a scale.
    """
    from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict

    whole = pieces[NUMBERS].shape
    data = {
        (piece := _piece(name, kind)): file.get_slice(piece)[_shared(name, whole, entry.shape, places)]
        for kind, entry in pieces.items()
    }
    facts = json.loads(file.metadata()[name])
    blocks = facts["_data"]["block_size"]
    lengths = [place.stop - place.start for place in places]
    facts["_data"]["block_size"] = [min(block, length) for block, length in zip(blocks, lengths, strict=True)]
    metadata = {"tensor_names": json.dumps([name]), name: json.dumps(facts)}
    found: torch.Tensor = unflatten_tensor_state_dict(data, metadata)[0][name]
    return found


def adapt_scales(model: Any) -> None:
    """Let the quantized weights of *model* give numbers of its own type, where they were made for another one."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if hasattr(weight, NUMBERS) and weight.dtype != model.dtype:
                setattr(module, name, torch.nn.Parameter(_giving(weight.data, model.dtype), requires_grad=False))


def _giving(weight: Any, dtype: torch.dtype) -> Any:
    """Return the quantized *weight* as one that gives *dtype*: torchao's own conversion leaves it as it is."""
    from torchao.prototype.safetensors.safetensors_support import (
        flatten_tensor_state_dict,
        unflatten_tensor_state_dict,
    )

    name = "any.weight"
    data, metadata = flatten_tensor_state_dict({name: weight})
    facts = json.loads(metadata[name])
    facts["_data"]["dtype"]["_data"] = str(dtype).removeprefix("torch.")
    return unflatten_tensor_state_dict(data, {**metadata, name: json.dumps(facts)})[0][name]


def _shared(name: str, whole: Sequence[int], lengths: Sequence[int], places: Sequence[slice]) -> tuple[slice, ...]:
    """Return where *places* of numbers lie among scales, of which one is for several neighbours."""
    found = []
    for length, of, place in zip(lengths, whole, places, strict=True):
        each = of // length
        if length > 1 and (place.start % each or place.stop % each):
            raise ConfigurationError(f"{name} cannot be divided at {place.start}: {each} numbers share a scale")
        found.append(slice(place.start // each, place.stop // each) if length > 1 else slice(0, 1))
    return tuple(found)


def _piece(name: str, kind: str) -> str:
    owner, _, attribute = name.rpartition(".")
    return f"{owner}._{attribute}_{kind}"
