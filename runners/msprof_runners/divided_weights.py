"""Loading this process's part of a model, and nothing else of its files; writing it, and reading it back."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from msprof_runners.checkpoint import Tensor, check_weights
from msprof_runners.division import Division, Part
from msprof_runners.quantized_parts import Pieces, pieces_of, quantized_part, with_whole_names
from msprof_runners.weights import bound, check_loaded
from pytest_msprof.errors import CheckpointError, ConfigurationError

__all__ = ["Held", "load_part", "load_saved_part", "make_random_part", "save_part"]

SINGLE_EXPERTS = re.compile(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)")
"""Weights that are joint in memory, while each expert has its own in the files of Qwen3."""
SPREAD = 0.02
"""Standard deviation of random weights where the configuration has no `initializer_range`: that of transformers."""
LAYOUT = "msprof_layout"
"""Key of a file's metadata: for which layout and rank the weights in it were divided."""

Shape = tuple[int, ...]


class Held(NamedTuple):
    """A model of which this process holds its part."""

    model: Any
    share: float
    """Elements that this process holds / elements of the whole model."""


def load_part(cls: Any, folder: Path, config: Any, division: Division, *, dtype: str, **options: Any) -> Held:
    """Return a model of class *cls* with this process's part of the weights in *folder*, read slice by slice.

    Raises `CheckpointError` as for a whole model, `ConfigurationError` for weights that no rule divides.
    """
    found = check_weights(folder)
    quantized = pieces_of(found)
    found = with_whole_names(found, quantized)
    model = _empty(cls, config, options)
    shapes = _shapes(model)
    recipes = {name: _sources(name, shape, model, found) for name, shape in shapes.items()}
    _check(found, {name: shape for recipe in recipes.values() for name, shape in recipe.items()}, folder, cls)
    with _Files(found, division, quantized) as files:
        parts = {name: files.weight(name, shapes[name], recipe) for name, recipe in recipes.items()}
    return _filled(model, parts, shapes, division, folder=folder, dtype=dtype)


def load_saved_part(cls: Any, folder: Path, config: Any, division: Division, *, dtype: str, **options: Any) -> Held:
    """Return a model of class *cls* with the part that `save_part` wrote for this process.

    Raises `CheckpointError` where it was divided for another layout, too.
    """
    own = folder / f"rank_{division.rank}"
    if not own.is_dir():
        raise CheckpointError(
            f"{folder} has no folder {own.name}: weights are divided by save_model beforehand, "
            "or while they are read, with enable_online_split_weight: true"
        )
    found = check_weights(own)
    if (kept := _kept_layout(found)) != _spelled(division):
        raise CheckpointError(f"{own} was divided for the layout {kept or 'unknown'}, wanted {_spelled(division)}")
    model = _empty(cls, config, options)
    shapes = _shapes(model)
    wanted = {name: division.part(name, shape).shape for name, shape in shapes.items()}
    _check(found, wanted, own, cls)
    with ExitStack() as stack:
        files = {path: stack.enter_context(_opened(path)) for path in {entry.file for entry in found.values()}}
        parts = {name: files[found[name].file].get_tensor(name) for name in wanted}
    return _filled(model, parts, shapes, division, folder=folder, dtype=dtype)


def make_random_part(
    cls: Any, folder: Path, config: Any, division: Division, *, dtype: str, seed: int, device: str, **options: Any
) -> Held:
    """Return a model of class *cls* with random weights, of which this process makes its part alone, on *device*.

    What two processes hold of the same weight is the same; another division is another model.
    """
    model = _empty(cls, config, options)
    shapes = _shapes(model)
    spread = float(getattr(config, "initializer_range", None) or SPREAD)
    wanted = getattr(torch, dtype) if dtype != "auto" else config.dtype or torch.float32
    parts = {}
    for name, shape in shapes.items():
        part = division.part(name, shape)
        generator = torch.Generator(device).manual_seed(_number(seed, name, part))
        made = torch.empty(part.shape, device=device, dtype=wanted)
        kind = _begins_as(name, part)
        parts[name] = made.normal_(0, spread, generator=generator) if kind is None else made.fill_(kind)
    return _filled(model, parts, shapes, division, folder=folder, dtype=dtype)


def _begins_as(name: str, part: Part) -> float | None:
    """Return what every element of a weight begins as; None for those that differ."""
    if part.is_zero or name.endswith("bias"):
        return 0.0
    return 1.0 if name.endswith("norm.weight") else None


def _number(seed: int, name: str, part: Part) -> int:
    """Return a seed for this part of this weight, the same in every process."""
    words = f"{seed} {name} {[(place.start, place.stop) for place in part.places]}"
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:7])


def save_part(model: Any, folder: Path, division: Division) -> None:
    """Write this process's part to `folder/rank_<r>`; the first process writes the configuration to *folder*."""
    own = folder / f"rank_{division.rank}"
    own.mkdir(parents=True, exist_ok=True)
    parts = {name: value.detach().cpu().clone() for name, value in model.named_parameters(remove_duplicate=False)}
    save_file(parts, own / "model.safetensors", {"format": "pt", LAYOUT: _spelled(division)})
    if division.rank == 0:
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)


class _Files:
    """The files of a whole model, of which parts are read."""

    def __init__(self, found: Mapping[str, Tensor], division: Division, quantized: Mapping[str, Pieces]) -> None:
        self._found, self._division, self._quantized = found, division, quantized
        self._stack = ExitStack()
        self._open: dict[Path, Any] = {}

    def __enter__(self) -> Self:
        for path in {entry.file for entry in self._found.values()}:
            self._open[path] = self._stack.enter_context(_opened(path))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def weight(self, name: str, shape: Shape, recipe: Mapping[str, Shape]) -> torch.Tensor:
        """Return this process's part of the weight *name* of *shape*, made of what *recipe* names."""
        if len(recipe) == 1:
            return self._slice(next(iter(recipe)), name, shape)
        sources = list(recipe.items())
        each = len(sources) // shape[0]
        here = self._division.share("experts").of(shape[0])
        return torch.stack(
            [
                torch.cat([self._slice(source, source, size) for source, size in sources[each * e : each * (e + 1)]])
                for e in range(here.start, here.stop)
            ]
        )

    def _slice(self, source: str, name: str, shape: Shape) -> torch.Tensor:
        """Read of *source* what this process holds of *name*: they differ where two weights are tied."""
        part, file = self._division.part(name, shape), self._open[self._found[source].file]
        if source in self._quantized:
            return quantized_part(source, self._quantized[source], part.places, file)
        read: torch.Tensor = file.get_slice(source)[part.places]
        return torch.zeros_like(read) if part.is_zero else read


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _empty(cls: Any, config: Any, options: Mapping[str, Any]) -> Any:
    """Return a model that has shapes, but no weights yet."""
    with torch.device("meta"):
        return bound(cls, options)(config).eval()


def _shapes(model: Any) -> dict[str, Shape]:
    return {name: tuple(value.shape) for name, value in model.named_parameters(remove_duplicate=False)}


def _sources(name: str, shape: Shape, model: Any, found: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the weights of the files that the weight *name* of *model* is made of, with their shapes."""
    if name in found:
        return {name: shape}
    if joint := SINGLE_EXPERTS.fullmatch(name):
        return dict(_single_experts(joint[1], joint[2], shape))
    return {model.all_tied_weights_keys.get(name, name): shape}


def _single_experts(place: str, kind: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    experts, rows, columns = shape
    for expert in range(experts):
        if kind == "down_proj":
            yield f"{place}.{expert}.down_proj.weight", (rows, columns)
        else:
            yield f"{place}.{expert}.gate_proj.weight", (rows // 2, columns)
            yield f"{place}.{expert}.up_proj.weight", (rows // 2, columns)


def _check(found: Mapping[str, Tensor], wanted: Mapping[str, Shape], folder: Path, cls: Any) -> None:
    """Raise `CheckpointError` where files and model do not have the same weights of the same shapes."""
    ignored = getattr(cls, "_keys_to_ignore_on_load_unexpected", None) or ()
    extra = [name for name in found if name not in wanted and not any(re.search(word, name) for word in ignored)]
    misshapen = [
        (name, found[name].shape, shape)
        for name, shape in wanted.items()
        if name in found and found[name].shape != shape
    ]
    missing = set(wanted) - set(found)
    info = {"missing_keys": missing, "unexpected_keys": extra, "mismatched_keys": misshapen}
    check_loaded(info, str(folder), cls.__name__)


def _filled(
    model: Any,
    parts: Mapping[str, torch.Tensor],
    shapes: Mapping[str, Shape],
    division: Division,
    *,
    folder: Path,
    dtype: str,
) -> Held:
    """Give *model* its parts, and make sure that what is held is what should be."""
    wanted = getattr(torch, dtype) if dtype != "auto" else model.config.dtype
    model.config.dtype = wanted
    precise = getattr(model, "_keep_in_fp32_modules", None) or () if wanted == torch.float16 else ()
    for name, value in parts.items():
        kept = torch.float32 if set(precise) & set(name.split(".")) else wanted
        _set(model, name, torch.nn.Parameter(_as(value, kept or value.dtype), requires_grad=False))
    for name, source in model.all_tied_weights_keys.items():
        if parts[name].shape == parts[source].shape:
            _set(model, name, model.get_parameter(source))
    _remake_buffers(model)
    if (folder / "generation_config.json").exists():
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return Held(model, _held_share(model, shapes, division))


def _as(value: torch.Tensor, dtype: Any) -> torch.Tensor:
    """Return *value* as *dtype* in rows; a quantized one keeps its numbers as they are."""
    return value.to(dtype).contiguous() if type(value) is torch.Tensor else value


def _set(model: Any, name: str, value: torch.nn.Parameter) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, value)


def _remake_buffers(model: Any) -> None:
    """Compute what is in no file, as the frequencies of positions, by making its module anew."""
    for name, module in list(model.named_modules()):
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            model.set_submodule(name, type(module)(model.config).eval())


def _held_share(model: Any, shapes: Mapping[str, Shape], division: Division) -> float:
    """Return the share of all elements that is here.

    Raises `ConfigurationError` where a weight is not the part it should be.
    """
    held = dict(model.named_parameters(remove_duplicate=False))
    for name, shape in shapes.items():
        if (there := tuple(held[name].shape)) != (part := division.part(name, shape).shape) or held[name].is_meta:
            raise ConfigurationError(f"{name} has the shape {there} in process {division.rank}, wanted {part}")
    return sum(int(value.numel()) for value in held.values()) / sum(map(math.prod, shapes.values()))


def _spelled(division: Division) -> str:
    return json.dumps({**division.layout._asdict(), "rank": division.rank})


def _kept_layout(found: Mapping[str, Tensor]) -> str:
    first = next(iter(found.values())).file
    with _opened(first) as file:
        return str((file.metadata() or {}).get(LAYOUT, ""))
