"""`pytest-msprof init DIR`: gives you the packaged suites, to run as they are and to change."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pytest_msprof.errors import ConfigurationError

__all__ = ["add_arguments", "main", "packaged_suites"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the suites go; made where missing")


def main(args: argparse.Namespace) -> int:
    """Copy every file that is not there yet, and say what to run.

    Raises `ConfigurationError` rather than overwriting a file.
    """
    source, target = packaged_suites(), args.folder
    files = [path.relative_to(source) for path in sorted(source.rglob("*")) if _belongs(path)]
    taken = [str(target / path) for path in files if (target / path).exists()]
    if taken:
        raise ConfigurationError(f"nothing was copied, because {', '.join(taken)} would be overwritten")
    for path in files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target / path)
        print(target / path)
    print(f"run them: pytest {target} --msprof-engine transformers --msprof-model PATH")
    return 0


def packaged_suites() -> Path:
    """Return the folder of the suites: inside of an installed package, beside one in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "suites", package.parent / "suites"):
        if folder.is_dir():
            return folder
    raise ConfigurationError(f"the suites are missing from this installation ({package}); install it again")


def _belongs(path: Path) -> bool:
    hidden = any(part.startswith((".", "__pycache__")) for part in path.parts[-2:])
    return path.is_file() and not hidden and path.suffix != ".pyc"
