"""The options of the command line and their twins in the ini file."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import pytest

from pytest_msprof.errors import ConfigurationError, InvalidSettings, MsprofError, UnknownName

__all__ = ["Options", "add_options", "as_usage_error", "check_names", "keep_rootdir"]


class _Option(NamedTuple):
    name: str
    kind: Literal["list", "text", "flag", "number"]
    metavar: str
    help: str


_OPTIONS = (
    _Option(
        "engine", "list", "NAME", "engine to start (repeatable): transformers, vllm, runner, external or a plugin's"
    ),
    _Option("model", "text", "PATH", "model to serve: a folder, or a name the engine can resolve"),
    _Option("base-url", "text", "URL", "measure a service that is already running"),
    _Option("load", "text", "NAME", "load generator (default: builtin)"),
    _Option("concurrency", "text", "N,N", "concurrencies of the `workload` fixture (default: 1)"),
    _Option("devices", "text", "IDS", "device slots, such as 0,1 or 0-1,2-3 (default: one slot)"),
    _Option("repeat", "number", "N", "fresh launches a case; a verdict needs 4 on each side (default: 1)"),
    _Option("golden", "text", "DIR", "folder of the golden runs (default: .msprof/golden)"),
    _Option("update-golden", "flag", "", "make the runs of this session golden"),
    _Option(
        "report", "list", "NAME", "report to write (repeatable; default: html and xlsx, where installed; none: 'no')"
    ),
    _Option("study", "text", "NAME|URL", "name of the study, or the URL of an Optuna storage"),
    _Option("fresh", "flag", "", "start studies over instead of resuming them"),
    _Option("strict", "flag", "", "fail where evidence is missing, instead of warning"),
    _Option("keep", "number", "N", "runs to keep in .msprof/runs (default: all)"),
    _Option("config", "text", "FILE", "settings file in the format of the seed's config.toml"),
)


def add_options(parser: pytest.Parser) -> None:
    """Declare every option; a default of None lets the ini file answer."""
    group = parser.getgroup("msprof", "serving performance (pytest-msprof)")
    for option in _OPTIONS:
        dest = f"msprof_{option.name.replace('-', '_')}"
        keywords: dict[str, Any] = {"dest": dest, "default": None, "help": option.help}
        if option.kind == "flag":
            keywords["action"] = "store_true"
        elif option.kind == "list":
            keywords |= {"action": "append", "metavar": option.metavar}
        else:
            keywords |= {"type": int if option.kind == "number" else str, "metavar": option.metavar}
        group.addoption(f"--msprof-{option.name}", **keywords)
        ini: Literal["bool", "args", "string"] = "string"
        if option.kind == "flag":
            ini = "bool"
        elif option.kind == "list":
            ini = "args"
        parser.addini(dest, f"default of --msprof-{option.name}", type=ini, default=None)


def check_names(parser: pytest.Parser, args: Sequence[str]) -> None:
    """Raise `pytest.UsageError` with the nearest names for an option that looks like ours and is nobody's."""
    _, unknown = parser.parse_known_and_unknown_args(args)
    for arg in unknown:
        name = arg.partition("=")[0]
        if name.startswith("--msprof"):
            known = [f"--msprof-{option.name}" for option in _OPTIONS]
            raise as_usage_error(UnknownName("option", name, known))


def keep_rootdir(config: pytest.Config) -> None:
    """Let a value of ours, such as the PATH of `--msprof-model PATH`, say nothing about pytest's rootdir.

    pytest looks for it before it knows the options of plugins and takes such a value for a test
    path: what is measured would lie beside the model. Without an ini file the rootdir is what it
    would have been; raises `pytest.UsageError` where the model's ini file was taken.
    """
    known, here = config.known_args_namespace, config.invocation_params.dir
    taken = next(_values_taken_for_paths(config), None)
    if taken is None or known.rootdir or known.inifilename:
        return
    paths = [here / given.partition("::")[0] for given in known.file_or_dir]
    tests = [path if path.is_dir() else path.parent for path in paths if path.exists()] or [here]
    root = config.rootpath
    if config.inipath is None and not (root / "setup.py").is_file():
        root = Path(os.path.commonpath([here, *tests]))
        config._rootpath = root  # noqa: SLF001 - pytest has no public way; a version without it is refused below
    if config.rootpath != root or not any(path.is_relative_to(root) for path in tests):
        option, value = taken
        raise pytest.UsageError(
            f"msprof: pytest took the value of {option} for a test path, and its rootdir {config.rootpath} from "
            f"there; write {option}={value}"
        )


def _values_taken_for_paths(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """Yield each option whose value stands by itself on the command line and names a file or folder, and the value."""
    alone = [arg for arg in config.invocation_params.args if (config.invocation_params.dir / arg).exists()]
    for option in _OPTIONS:
        given = getattr(config.known_args_namespace, f"msprof_{option.name.replace('-', '_')}", None)
        values = given if isinstance(given, list) else [given]
        yield from ((f"--msprof-{option.name}", value) for value in values if value in alone)


@dataclass(frozen=True, slots=True)
class Options:
    """The settled options of one session: command line, then ini, then built-in."""

    engine: tuple[str, ...]
    model: str | None
    base_url: str | None
    load: str
    concurrency: tuple[int, ...]
    devices: tuple[tuple[str, ...], ...]
    """One group of devices a slot."""
    repeat: int
    golden: Path
    update_golden: bool
    report: tuple[str, ...] | None
    study: str | None
    fresh: bool
    strict: bool
    keep: int | None
    config: Path | None
    folder: Path
    """`.msprof` under rootdir."""

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """Read them from *config*; raises `ConfigurationError` for a value that cannot be used."""
        from pytest_msprof.slots import parse_devices

        def read(name: str) -> Any:
            value = config.getoption(f"msprof_{name}", None)
            return config.getini(f"msprof_{name}") or None if value is None else value

        folder = config.rootpath / ".msprof"
        base_url = _url(read("base_url"))
        given = config.getoption("msprof_engine", None)
        engines = _elsewhere(given) if base_url else tuple(given or read("engine") or ())
        reports = tuple(read("report") or ())
        return cls(
            engine=tuple(dict.fromkeys(engines)),
            model=_found(config, read("model")),
            base_url=base_url,
            load=read("load") or "builtin",
            concurrency=_concurrencies(read("concurrency")),
            devices=parse_devices(read("devices") or ""),
            repeat=_at_least_one("--msprof-repeat", 1 if (repeat := read("repeat")) is None else repeat),
            golden=Path(config.rootpath / golden) if (golden := read("golden")) else folder / "golden",
            update_golden=bool(read("update_golden")),
            report=reports or None,
            study=read("study"),
            fresh=bool(read("fresh")),
            strict=bool(read("strict")),
            keep=None if (keep := read("keep")) is None else _at_least_one("--msprof-keep", keep),
            config=_settings_file(config, read("config")),
            folder=folder,
        )


def _found(config: pytest.Config, model: str | None) -> str | None:
    """Return a model's folder as an absolute path, and a name that is no folder as it is."""
    if not model:
        return None
    for start in (config.invocation_params.dir, config.rootpath):
        if (start / model).is_dir():
            return str((start / model).resolve())
    return model


def _settings_file(config: pytest.Config, name: str | None) -> Path | None:
    if not name:
        return None
    for start in (config.invocation_params.dir, config.rootpath):
        if (start / name).is_file():
            return start / name
    raise InvalidSettings(f"--msprof-config needs a file, but there is no {name!r}")


def _url(text: str | None) -> str | None:
    """Return a URL that requests can go to; None for none."""
    from pytest_msprof.redaction import redact

    if text and not (text.startswith(("http://", "https://")) and urlsplit(text).hostname):
        raise ConfigurationError(f"--msprof-base-url needs an http:// or https:// URL, but got {redact(text)!r}")
    return text or None


def _elsewhere(engines: Sequence[str] | None) -> tuple[str, ...]:
    """Return the engine of a service that runs elsewhere; another one that was asked for would be started here."""
    if others := [name for name in engines or () if name != "external"]:
        raise ConfigurationError(
            f"--msprof-base-url measures a running service, as engine 'external', but --msprof-engine says "
            f"{', '.join(others)}: give one of the two"
        )
    return ("external",)


def _concurrencies(text: str | None) -> tuple[int, ...]:
    """Return the concurrencies of *text*, none where nothing was asked for."""
    if text is None:
        return ()
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ConfigurationError(f"--msprof-concurrency needs whole numbers from 1, such as 1,8,64, but got {text!r}")
    return found


def _at_least_one(name: str, value: int | str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigurationError(f"{name} needs a whole number from 1, but got {value!r}")
    return number


def as_usage_error(error: MsprofError) -> pytest.UsageError:
    """Translate at pytest's border: exit code 4 and one message, no traceback."""
    return pytest.UsageError(f"msprof: {error}")
