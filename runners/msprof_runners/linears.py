"""Linear layers with one weight for several, in the layout that a processor multiplies fastest.

oneDNN reads a weight that it has packed beforehand with all cores, also for a single row, where the
usual product of a vector and a matrix takes one; in bf16 the result is the same bit for bit, in
float32 sums are only ordered otherwise. Nothing is held twice: layers whose weights are joined keep
views of them, and those whose weights are packed unpack them when they are asked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import torch

__all__ = ["Packed", "Part", "joined"]

ROWS = 8
"""Rows for which weights are packed; measured, no other number is faster for one row or for hundreds."""
LEAST_ELEMENTS = {torch.bfloat16: 0, torch.float32: 1 << 19}
"""Elements from which on a packed weight is the faster one; below, starting oneDNN costs more than it saves."""

Linear = Callable[[torch.Tensor], torch.Tensor]

_handles = itertools.count()
_packed: WeakValueDictionary[int, Packed] = WeakValueDictionary()
_library = torch.library.Library("msprof", "DEF")
_library.define("packed_linear(Tensor input, Tensor handle, int width) -> Tensor")


class Packed:
    """A weight in oneDNN's layout, with its bias.

    Compilers know no tensor of that layout, so that a graph takes its handle, which is an input like a
    weight: the same graph, kept on disk or not, serves another model of the same shapes.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.width = weight.shape[0]
        self.bias = bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)  # noqa: SLF001 - it has no other name
        number = next(_handles)
        self._handle = torch.tensor(number)
        _packed[number] = self

    @property
    def weight(self) -> torch.Tensor:
        """The weight as it was, shape ``(width, inputs)``; a copy."""
        return self._weight.to_dense()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the product of *rows*, shape ``(…, inputs)``, and the weight."""
        if torch.compiler.is_compiling():
            found: torch.Tensor = torch.ops.msprof.packed_linear(rows, self._handle, self.width)
            return found
        return self.product(rows)

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute it here and now."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight, self.bias, "none", [], "")  # noqa: SLF001 - it has no other name
        return found


def _product(rows: torch.Tensor, handle: torch.Tensor, _width: int) -> torch.Tensor:
    return _packed[int(handle)].product(rows)


def _shape(rows: torch.Tensor, _handle: torch.Tensor, width: int) -> torch.Tensor:
    return rows.new_empty(*rows.shape[:-1], width)


_library.impl("packed_linear", _product, "CPU")
torch.library.register_fake("msprof::packed_linear", _shape, lib=_library)


class Part(torch.nn.Module):  # type: ignore[misc]
    """What stands in the place of a layer whose weight is packed, perhaps together with others."""

    def __init__(self, whole: Packed, start: int, end: int, *, has_bias: bool) -> None:
        super().__init__()
        self._whole, self._rows, self._has_bias = whole, slice(start, end), has_bias

    @property
    def weight(self) -> torch.Tensor:
        """The layer's own weight; a copy."""
        return self._whole.weight[self._rows]

    @property
    def bias(self) -> torch.Tensor | None:
        """The layer's own bias, None where it has none."""
        return self._whole.bias[self._rows] if self._has_bias and self._whole.bias is not None else None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the layer did."""
        return self._whole(rows)[..., self._rows]

    def _save_to_state_dict(self, destination: Any, prefix: str, _keep_vars: bool) -> None:  # noqa: FBT001 - torch's signature
        destination[f"{prefix}weight"] = self.weight
        if self.bias is not None:
            destination[f"{prefix}bias"] = self.bias


def joined(owner: torch.nn.Module, names: Sequence[str], *, shared: bool = False) -> Linear:
    """Return the layers *names* of *owner* as one that lays their outputs side by side.

    The layers themselves stay usable. *shared* says that another part of the model uses the weight,
    which then is kept as it is, too.
    """
    layers = [getattr(owner, name) for name in names]
    weight = layers[0].weight.detach() if len(layers) == 1 else torch.cat([layer.weight.detach() for layer in layers])
    bias = _joint_bias(layers)
    ends = list(itertools.accumulate(layer.weight.shape[0] for layer in layers))
    places = list(zip(names, [0, *ends[:-1]], ends, strict=True))
    if _is_better_packed(weight):
        packed = Packed(weight, bias)
        if not shared:
            for layer, (name, start, end) in zip(layers, places, strict=True):
                setattr(owner, name, Part(packed, start, end, has_bias=layer.bias is not None))
        return packed
    if len(layers) == 1:
        return layers[0]  # type: ignore[no-any-return]
    for layer, (_, start, end) in zip(layers, places, strict=True):
        layer.weight.data = weight[start:end]
    return _Joint(weight, bias)


class _Joint:
    """Several layers in one product."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(rows, self._weight, self._bias)


def _joint_bias(layers: Sequence[Any]) -> torch.Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    found = [
        layer.weight.new_zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias.detach() for layer in layers
    ]
    return found[0] if len(found) == 1 else torch.cat(found)


def _is_better_packed(weight: torch.Tensor) -> bool:
    least = LEAST_ELEMENTS.get(weight.dtype)
    if least is None or weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    known = weight.dtype is not torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 - it has no other name
    return bool(known) and weight.numel() >= least
