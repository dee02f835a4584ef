"""Fields that stand in an engine's JSON config file: set in a private copy, never in place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_msprof.errors import InvalidSettings, UnknownName
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.results import Value

__all__ = ["edited_copy", "set_path"]

ELSEWHERE = ("", "env")
"""Positions outside the config file: on the command line, in the environment."""


def edited_copy(source: Path, folder: Path, params: Iterable[OptimizerConfigField]) -> Path:
    """Copy the JSON file *source* into *folder*, with the values of *params* in it, and return the copy.

    A position is a dotted path whose numbers are indexes of lists, such as
    `BackendConfig.ModelDeployConfig.ModelConfig.0.worldSize`. A field without a value is left to
    the engine. Raises `InvalidSettings` where the file cannot be read or a path leads nowhere.
    """
    document = _read(source)
    for entry in params:
        if entry.config_position not in ELSEWHERE and entry.value is not None:
            set_path(document, entry.config_position, entry.value, file=str(source))
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / source.name
    if copy.exists() and copy.samefile(source):
        raise InvalidSettings(f"cannot edit a copy of {source} in its own folder: it would be the file itself")
    try:
        text = json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidSettings(f"{source} cannot hold the value of a field: {error}") from None
    copy.write_text(text + "\n", encoding="utf-8")
    shutil.copymode(source, copy)
    return copy


def set_path(document: Any, path: str, value: Value, *, file: str = "the document") -> None:
    """Set the value at *path* in *document*; the last key may be new, those before it may not.

    Raises `InvalidSettings` where the path leads nowhere, naming the nearest keys.
    """
    *parents, last = path.split(".")
    node = document
    for depth, key in enumerate(parents):
        above = ".".join(parents[:depth])
        if isinstance(node, dict) and key not in node:
            raise InvalidSettings(f"{file}: {path!r} leads nowhere: {UnknownName(f'key in {above!r}', key, node)}")
        node = node[_key(node, key, above, file)]
    node[_key(node, last, ".".join(parents), file)] = value


def _read(source: Path) -> Any:
    try:
        return json.loads(source.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidSettings(f"cannot read the config file {source}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidSettings(f"the config file {source} is no JSON: {error}") from None


def _key(node: Any, key: str, above: str, file: str) -> str | int:
    """Return *key* as *node* wants it: a text for an object, an existing index for a list."""
    if isinstance(node, dict) and key:
        return key
    if isinstance(node, list):
        if key.isdecimal() and int(key) < len(node):
            return int(key)
        raise InvalidSettings(f"{file}: {above!r} is a list of {len(node)}, which has no index {key!r}")
    raise InvalidSettings(f"{file}: {above!r} is {node!r:.60}, which has no key {key!r}")
