"""Models small enough to serve on any machine, made here: no download, the same bytes everywhere."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.tiny_encoders import encoder_files, encoder_weights, is_encoder
from pytest_msprof.tiny_shapes import MODELS, Shape, configuration, weights
from pytest_msprof.tiny_tokenizers import Vocabulary, silent_tokens, vocabulary_of

__all__ = ["MODELS", "make_model"]

RECIPE = "recipe.json"
RECIPE_VERSION = 2
"""2: never writes what is no text of its own. 1: first."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def make_model(name: str, folder: Path) -> Path:
    """Make the model *name* in *folder* unless it is there, and return the folder.

    Weights are random and what it says means nothing, but engines serve it like any model of
    its architecture. It appears whole or not at all, also when two processes make it at once.

    Raises `UnknownName` for a model that is not in `MODELS`, and `ConfigurationError` when something
    else lies at its place.
    """
    if name not in MODELS:
        raise UnknownName("model", name, MODELS)
    if _is_made(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(MODELS[name], scratch)
        _write_json(scratch / RECIPE, {"name": name, "version": RECIPE_VERSION})
        scratch.chmod(0o755)
        _move(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _is_made(target: Path) -> bool:
    """Say whether *target* holds what the current recipe makes; a stranger's folder is an error."""
    if not target.exists():
        return False
    try:
        return bool(json.loads((target / RECIPE).read_text(encoding="utf-8"))["version"] == RECIPE_VERSION)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{target} exists, but was not made here (it has no readable {RECIPE}):"
            " move it away, or choose another folder"
        ) from None


def _move(scratch: Path, target: Path) -> None:
    """Put the finished folder in place; whoever came first wins."""
    if target.exists() and not _is_made(target):
        shutil.rmtree(target.replace(scratch.with_suffix(".old")), ignore_errors=True)
    try:
        scratch.replace(target)
    except OSError:
        if not _is_made(target):
            raise


def _write(shape: Shape, folder: Path) -> None:
    vocabulary = vocabulary_of(shape.family)
    tokenizer = vocabulary.train(shape.vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(shape, vocabulary))
    if is_encoder(shape):
        tensors = encoder_weights(shape)
        for name, content in encoder_files(shape, vocabulary.token_ids).items():
            _write_json(folder / name, content)
    else:
        tensors = weights(shape, silent_tokens(tokenizer))
        _write_json(folder / "config.json", configuration(shape, vocabulary.token_ids))
        _write_json(folder / "generation_config.json", {**vocabulary.token_ids, "do_sample": False})
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    _write_tensors(folder / "model.safetensors", {name: _bfloat16(value) for name, value in tensors})


def _write_tensors(path: Path, tensors: Mapping[str, NDArray[np.uint16]]) -> None:
    """Write the safetensors format: length of the header, header, tensors end to end."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, value in tensors.items():
        start, end = end, end + value.nbytes
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(value.tobytes() for value in tensors.values())


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _tokenizer_config(shape: Shape, vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        **vocabulary.roles,
        **vocabulary.options,
        "model_max_length": shape.positions,
        "tokenizer_class": vocabulary.tokenizer_class,
    }


def _bfloat16(value: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the upper half of a float32, ties to even."""
    bits = value.astype("<f4").view("<u4")
    return np.asarray((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, "<u2")
