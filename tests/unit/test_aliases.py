"""The original's import paths: ours where it is missing, its own where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pytest_msprof.aliases import ALIASES

INSTALL = "from pytest_msprof.aliases import install_aliases; install_aliases(); install_aliases()\n"


def run_python(code: str, *, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    first = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    return subprocess.run(
        [sys.executable, "-c", first + INSTALL + textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in ALIASES.items() for n in names])
def test_every_listed_name_resolves_to_the_object_of_this_package(module: str, name: str) -> None:
    from importlib import import_module

    from pytest_msprof.aliases import install_aliases

    install_aliases()
    ours = getattr(import_module(f"pytest_msprof.{ALIASES[module][name]}"), name)
    assert getattr(import_module(module), name) is ours


def test_the_seeds_imports_work_in_a_fresh_interpreter(tmp_path: Path) -> None:
    done = run_python(
        """
        from msserviceprofiler.modelevalstate.config.config import Settings, register_settings, get_settings
        from msserviceprofiler.modelevalstate.config.config import OptimizerConfigField, PerformanceIndex
        from msserviceprofiler.modelevalstate.config.custom_command import VllmCommand, VllmBenchmarkCommand
        from msserviceprofiler.modelevalstate.optimizer.simulator import SimulatorInterface
        from msserviceprofiler.modelevalstate.optimizer.benchmark import BenchmarkInterface
        import msserviceprofiler.modelevalstate.optimizer.register
        import msserviceprofiler.modelevalstate.optimizer.register as register
        assert register.register_simulator and register.register_benchmarks
        assert msserviceprofiler.modelevalstate.optimizer.simulator.SimulatorInterface is SimulatorInterface
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_an_installed_original_answers_for_itself_and_is_not_mixed_with_ours(tmp_path: Path) -> None:
    package = tmp_path / "msserviceprofiler" / "modelevalstate"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("mine = False")
    done = run_python(
        """
        import msserviceprofiler.modelevalstate as real
        assert real.mine is False
        import msserviceprofiler.modelevalstate.config.config
        """,
        cwd=tmp_path,
        path=tmp_path,
    )
    assert "No module named 'msserviceprofiler.modelevalstate.config'" in done.stderr


def test_a_folder_that_only_carries_the_name_is_no_installation(tmp_path: Path) -> None:
    (tmp_path / "msserviceprofiler" / "docs").mkdir(parents=True)
    code = "from msserviceprofiler.modelevalstate.optimizer.register import register_simulator"
    done = run_python(code, cwd=tmp_path, path=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_import_error_that_names_it(tmp_path: Path) -> None:
    done = run_python("from msserviceprofiler.modelevalstate.config.config import NoSuch", cwd=tmp_path)
    assert "cannot import name 'NoSuch'" in done.stderr


def test_installing_the_aliases_imports_nothing_heavy(tmp_path: Path) -> None:
    done = run_python("import sys; print('numpy' in sys.modules, 'pydantic' in sys.modules)", cwd=tmp_path)
    assert done.stdout.split() == ["False", "False"]
