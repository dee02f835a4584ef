"""Finding an engine's own interpreter: each engine lives in an environment apart from the harness."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_msprof.errors import EngineNotInstalled

__all__ = ["Engine", "Interpreter", "find_interpreter"]

QUESTION_TIMEOUT = 60.0

SCRIPT = re.compile(rb"""#!(?:/bin/sh\n'''exec' +"?)?(/[^\n" ]*)""")
"""How pip begins a script: with its interpreter, or with a shell that starts that one where its path is long."""
SCRIPT_HEAD = 1024

ASK_MODULES = "import importlib.util as u, sys; sys.exit(any(u.find_spec(name) is None for name in sys.argv[1:]))"
ASK_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """What is looked for: a program, and the module that does the same under `python -m`.

    Without a program it is an interpreter, with what it must be able to import.
    """

    name: str
    program: str
    module: str
    install: str
    """The command that installs it."""
    libraries: tuple[str, ...] = ()
    """What an interpreter must be able to import, where there is no program."""
    folder: str = ""
    """Its environment's name in `.engines`, where that is not its own."""

    @property
    def variable(self) -> str:
        """The environment variable that a launcher sets."""
        return f"MSPROF_{self.name.upper()}_PYTHON"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An environment that holds an engine, and how to call the engine there."""

    command: tuple[str, ...]
    python: Path | None
    """None where only a program was found in `PATH`, and no interpreter beside it."""

    def versions(self, *distributions: str) -> dict[str, str]:
        """Return the versions of those *distributions* that are installed there."""
        return _versions(self.python, distributions) if self.python else {}


def find_interpreter(engine: Engine, *, rootdir: Path, setting: str | None = None) -> Interpreter:
    """Look at the *setting*, the variable, `<rootdir>/.engines`, this environment and `PATH`, in this order.

    Setting and variable name an interpreter or an environment's folder. They are not guesses: when
    the engine is not there, the search ends.

    Raises `EngineNotInstalled` with the command that installs the engine.
    """
    told = _told(engine, setting)
    if told is not None:
        return told
    for found in _guesses(engine, rootdir):
        return found
    raise EngineNotInstalled(
        f"engine {engine.name!r} is not installed: there is no {_wanted(engine)} in "
        f"{_environment(engine, rootdir)}, beside {sys.executable}, or in PATH, and {engine.variable} is not set; "
        f"install it with: {engine.install}"
    )


def _told(engine: Engine, setting: str | None) -> Interpreter | None:
    value, source = setting, f"the setting 'python' of engine {engine.name!r}"
    if not value:
        value, source = os.environ.get(engine.variable), engine.variable
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    python = path / "bin" / "python" if path.is_dir() else path
    if not python.is_file():
        raise EngineNotInstalled(
            f"{source} names {value}, where no interpreter is; install the engine with: {engine.install}"
        )
    found = _beside(engine, python)
    if found is None and engine.program and _has_modules(python, (engine.module,)):
        found = Interpreter((str(python), "-m", engine.module), python)
    if found is None:
        raise EngineNotInstalled(
            f"{source} names {python}, but {engine.name!r} is not installed there; install it with: {engine.install}"
        )
    return found


def _guesses(engine: Engine, rootdir: Path) -> Iterator[Interpreter]:
    for python in (_environment(engine, rootdir) / "bin" / "python", Path(sys.executable)):
        found = _beside(engine, python)
        if found:
            yield found
    program = shutil.which(engine.program or "python")
    if program and not engine.program:
        found = _beside(engine, Path(program))
        if found:
            yield found
    elif program:
        python = Path(program).resolve().parent / "python"
        yield Interpreter((program,), python if python.is_file() else None)


def _environment(engine: Engine, rootdir: Path) -> Path:
    return rootdir / ".engines" / (engine.folder or engine.name)


def _wanted(engine: Engine) -> str:
    return repr(engine.program) if engine.program else f"interpreter with {' and '.join(engine.libraries)}"


def _beside(engine: Engine, python: Path) -> Interpreter | None:
    """Return the program that pip put beside *python*; never resolve the link that makes it an environment."""
    if not engine.program:
        has_all = python.is_file() and _has_modules(python, engine.libraries)
        return Interpreter((str(python),), python) if has_all else None
    program = python.parent / engine.program
    if not python.is_file() or not os.access(program, os.X_OK):
        return None
    return Interpreter((str(python), str(program)) if _was_moved(program) else (str(program),), python)


def _was_moved(program: Path) -> bool:
    """Whether *program* is a script that names an interpreter which is not there: its environment was moved."""
    with program.open("rb") as file:
        named = SCRIPT.match(file.read(SCRIPT_HEAD))
    return named is not None and not Path(os.fsdecode(named[1])).exists()


@cache
def _has_modules(python: Path, modules: tuple[str, ...]) -> bool:
    packages = (module.partition(".")[0] for module in modules)
    return _ask(python, ASK_MODULES, *packages).returncode == 0


@cache
def _versions(python: Path, distributions: tuple[str, ...]) -> dict[str, str]:
    answer = _ask(python, ASK_VERSIONS, *distributions)
    return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}


def _ask(python: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-I", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=QUESTION_TIMEOUT, check=False)
