"""The seed's `config.toml`: where it is looked for, how files are merged, which keys there are."""

from __future__ import annotations

import difflib
import os
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pytest_msprof.errors import InvalidSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pytest_msprof.fields import OptimizerConfigField
    from pytest_msprof.results import Value
    from pytest_msprof.space import SearchSpace

__all__ = ["IGNORED", "IgnoredSetting", "config_files", "merged", "read_config", "session", "to_space", "use"]

VARIABLE = "MODEL_EVAL_STATE_CONFIG_PATH"
OWN_NAME = "model_eval_state.toml"

IGNORED = frozenset(
    {
        "ais_bench",
        "benchmark",
        "communication",
        "health_check",
        "kubectl",
        "latency_model",
        "mindie",
        "pso_strategy",
        "service",
        "simulator_output",
    }
)
"""Top-level keys of the original that mean nothing here: dead there, or of an engine that we do not have."""

WITHOUT_EFFECT = frozenset(
    {
        "data_storage.pso_top_k",
        "ftol",
        "ftol_iter",
        "mem_coefficient",
        "scaling_coefficient",
        "slo_coefficient",
        "theory_guided_enable",
        "vllm_benchmark.performance_config",
    }
)
"""Keys of the original that are kept for plugins that read them, and that nothing here reads."""

OF_THE_SWARM = frozenset({"max_fine_tune", "pso_options", "step_size"})
"""Those that have an effect where the file says `search = "pso"`."""


class IgnoredSetting(UserWarning):
    """A settings file holds keys that are known and have no effect."""


@dataclass(frozen=True, slots=True)
class _Session:
    """What the command line said, for settings that a plugin makes later."""

    searched: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    model: str = ""


_session = _Session()


def use(
    *, searched: Sequence[Path] | None = None, files: Sequence[Path] | None = None, model: str | None = None
) -> None:
    """Let settings made from now on read *searched* and then *files* last, and serve *model* where they name none."""
    global _session  # noqa: PLW0603 - a plugin makes its settings without any argument
    if searched is not None:
        _session = replace(_session, searched=tuple(searched))
    if files is not None:
        _session = replace(_session, files=tuple(files))
    if model is not None:
        _session = replace(_session, model=model)


def session() -> _Session:
    """Return what `use` was told last."""
    return _session


def config_files() -> tuple[Path, ...]:
    """Return the files that exist and are read, the later one winning.

    Raises `InvalidSettings` for a file that was named and is not there.
    """
    named = [Path(path) for path in (os.environ.get(VARIABLE), os.environ.get(VARIABLE.lower())) if path]
    named += _session.files
    for path in named:
        if not path.is_file():
            raise InvalidSettings(f"settings file {str(path)!r} does not exist")
    usual = (Path.home() / OWN_NAME, Path.cwd() / OWN_NAME, *_session.searched)
    found = [path for path in usual if path.is_file()]
    return tuple(dict.fromkeys(path.resolve() for path in (*found, *named)))


def read_config(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """Read one file and keep what *model* knows.

    Raises `InvalidSettings` for a file that is no TOML, and for an unknown key, naming the nearest.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path}: not a TOML file: {error}") from None
    ignored = IGNORED.intersection(data) - set(model.model_fields)
    without = WITHOUT_EFFECT if data.get("search") == "pso" else WITHOUT_EFFECT | OF_THE_SWARM
    if noted := sorted(ignored | without.intersection(_keys(data))):
        warnings.warn(f"{path}: known, but without effect here: {', '.join(noted)}", IgnoredSetting, stacklevel=2)
    kept = {key: value for key, value in data.items() if key not in ignored}
    _check_keys(kept, model, path, ())
    return kept


def merged(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Merge tables at every depth; the later one wins, and a list counts as one value."""
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            old = result.get(key)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                result[key] = merged(old, value)
            else:
                result[key] = value
    return result


def to_space(fields: Sequence[OptimizerConfigField], known: Sequence[OptimizerConfigField] = ()) -> SearchSpace:
    """Return the search space over *fields*, whose values are the default configuration.

    A field that the engine itself declares among *known* in lower case (`max_num_seqs` for
    `MAX_NUM_SEQS`) is set by the engine instead of through the environment.
    """
    from pytest_msprof.space import SearchSpace

    own = {entry.name: entry for entry in known}
    renamed = [_renamed(entry, own) for entry in fields]
    first = {entry.name: _first(entry) for entry in renamed}
    return SearchSpace(*renamed, default={name: value for name, value in first.items() if value is not None})


def _first(entry: OptimizerConfigField) -> Value:
    """Return the value of the default configuration, None where it is left to the engine or to other fields."""
    if entry.is_constant:
        return entry.fixed
    return None if entry.targets else entry.value


def _renamed(entry: OptimizerConfigField, own: Mapping[str, OptimizerConfigField]) -> OptimizerConfigField:
    name = entry.name.lower()
    if name == entry.name or name not in own or entry.config_position != "env":
        return entry
    return entry.model_copy(update={"name": name, "config_position": own[name].config_position})


def _keys(data: Mapping[str, Any], inside: str = "") -> Iterator[str]:
    """Yield every key with the tables above it, such as `data_storage.pso_top_k`."""
    for key, value in data.items():
        yield inside + key
        if isinstance(value, Mapping):
            yield from _keys(value, f"{inside}{key}.")


def _check_keys(data: Mapping[str, Any], model: type[BaseModel], path: Path, inside: tuple[str, ...]) -> None:
    """Compare the keys with the model's, table by table."""
    if model.model_config.get("extra") == "allow":
        return
    for key, value in data.items():
        if key not in model.model_fields:
            raise InvalidSettings(f"{path}: {_unknown(key, model, inside)}")
        below = _model_of(model.model_fields[key].annotation)
        if below is None:
            continue
        for table in value if isinstance(value, list) else (value,):
            if isinstance(table, Mapping):
                _check_keys(table, below, path, (*inside, key))


def _unknown(key: str, model: type[BaseModel], inside: tuple[str, ...]) -> str:
    known = sorted({*model.model_fields, *(() if inside else IGNORED)})
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    where = f" in [{'.'.join(inside)}]" if inside else ""
    return f"unknown key {key!r}{where} (known: {', '.join(known)}){hint}"


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model behind an annotation such as `VllmConfig` or `list[OptimizerConfigField]`."""
    from pydantic import BaseModel

    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
