"""Where an engine's interpreter is looked for, and what is said when it is nowhere."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from msprof_plugins.interpreters import Engine, find_interpreter
from pytest_msprof.errors import EngineNotInstalled

ENGINE = Engine(name="toy", program="toy-engine", module="toy.main", install="pip install toy-engine")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv("MSPROF_TOY_PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def environment(folder, *, program=True):
    """Make what looks like an environment: an interpreter, and the engine's program beside it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    if program:
        (folder / "bin" / "toy-engine").write_text("#!/bin/sh\n")
        (folder / "bin" / "toy-engine").chmod(0o755)
    return folder


def program(folder):
    return (str(folder / "bin" / "toy-engine"),)


def test_the_setting_wins_over_everything(tmp_path, monkeypatch):
    told = environment(tmp_path / "told")
    monkeypatch.setenv("MSPROF_TOY_PYTHON", str(environment(tmp_path / "variable")))
    environment(tmp_path / ".engines" / "toy")
    assert find_interpreter(ENGINE, rootdir=tmp_path, setting=str(told)).command == program(told)


def test_the_variable_wins_over_the_engines_folder(tmp_path, monkeypatch):
    told = environment(tmp_path / "variable")
    monkeypatch.setenv("MSPROF_TOY_PYTHON", str(told / "bin" / "python"))
    environment(tmp_path / ".engines" / "toy")
    assert find_interpreter(ENGINE, rootdir=tmp_path).command == program(told)


def test_the_engines_folder_wins_over_path(tmp_path, monkeypatch):
    folder = environment(tmp_path / ".engines" / "toy")
    monkeypatch.setenv("PATH", str(environment(tmp_path / "other") / "bin"))
    found = find_interpreter(ENGINE, rootdir=tmp_path)
    assert found.command == program(folder)
    assert found.python == folder / "bin" / "python"


@pytest.mark.parametrize(
    "head",
    ["#!{moved}/python\n", "#!/bin/sh\n'''exec' \"{moved}/python\" \"$0\" \"$@\"\n' '''\n"],
    ids=["short", "long"],
)
def test_an_environment_that_was_moved_still_runs(tmp_path, head):
    folder = environment(tmp_path / ".engines" / "toy")
    written = f"{head.format(moved=tmp_path / 'before')}import sys; print(sys.argv[1:])\n"
    (folder / "bin" / "toy-engine").write_text(written)
    command = find_interpreter(ENGINE, rootdir=tmp_path).command
    assert command == (str(folder / "bin" / "python"), *program(folder))
    assert subprocess.run([*command, "serve"], capture_output=True, text=True, check=True).stdout == "['serve']\n"


def test_an_environment_whose_installation_was_cut_short_is_passed_over(tmp_path, monkeypatch):
    environment(tmp_path / ".engines" / "toy", program=False)
    other = environment(tmp_path / "other")
    monkeypatch.setenv("PATH", str(other / "bin"))
    assert find_interpreter(ENGINE, rootdir=tmp_path).command == program(other)


def test_the_environment_of_the_harness_comes_before_path(tmp_path, monkeypatch):
    current = environment(tmp_path / "current")
    monkeypatch.setattr(sys, "executable", str(current / "bin" / "python"))
    monkeypatch.setenv("PATH", str(environment(tmp_path / "other") / "bin"))
    assert find_interpreter(ENGINE, rootdir=tmp_path).command == program(current)


def test_an_interpreter_without_the_program_beside_it_runs_the_module(tmp_path):
    python = environment(tmp_path / "told", program=False) / "bin" / "python"
    engine = Engine(name="toy", program="toy-engine", module="json.tool", install="")
    found = find_interpreter(engine, rootdir=tmp_path, setting=str(python))
    assert found.command == (str(python), "-m", "json.tool")


def test_a_named_interpreter_that_does_not_exist_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setenv("MSPROF_TOY_PYTHON", "/nowhere/bin/python")
    environment(tmp_path / ".engines" / "toy")
    with pytest.raises(
        EngineNotInstalled, match="MSPROF_TOY_PYTHON names /nowhere/bin/python, where no interpreter is"
    ):
        find_interpreter(ENGINE, rootdir=tmp_path)


def test_a_named_interpreter_without_the_engine_ends_the_search(tmp_path):
    told = environment(tmp_path / "told", program=False)
    with pytest.raises(
        EngineNotInstalled, match="'toy' is not installed there; install it with: pip install toy-engine"
    ):
        find_interpreter(ENGINE, rootdir=tmp_path, setting=str(told))


def test_an_engine_that_is_nowhere_is_an_error_with_the_install_command(tmp_path):
    with pytest.raises(
        EngineNotInstalled, match=r"engine 'toy' is not installed.*install it with: pip install toy-engine"
    ):
        find_interpreter(ENGINE, rootdir=tmp_path)


def test_versions_are_those_of_the_other_environment(tmp_path):
    venv.create(tmp_path / "env", symlinks=True)
    site = next((tmp_path / "env" / "lib").glob("python3*")) / "site-packages"
    (site / "toy-7.1.dist-info").mkdir()
    (site / "toy-7.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 7.1\n")
    (tmp_path / "env" / "bin" / "toy-engine").write_text("#!/bin/sh\n")
    (tmp_path / "env" / "bin" / "toy-engine").chmod(0o755)
    found = find_interpreter(ENGINE, rootdir=tmp_path, setting=str(tmp_path / "env"))
    assert found.versions("toy", "pytest") == {"toy": "7.1"}


def test_an_engine_without_a_program_is_an_interpreter_that_can_import_it(tmp_path):
    engine = Engine("toy", "", "", "make it", libraries=("json", "pytest_msprof"), folder="toys")
    assert find_interpreter(engine, rootdir=tmp_path).command == (sys.executable,)
    folder = tmp_path / ".engines" / "toys" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    (folder.parent / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
    assert find_interpreter(engine, rootdir=tmp_path).command == (sys.executable,)
    bare = replace(engine, libraries=("json",))
    assert find_interpreter(bare, rootdir=tmp_path).command == (str(folder / "python"),)
    with pytest.raises(EngineNotInstalled, match=r"no interpreter with json and no_such_module in .*toys"):
        find_interpreter(replace(engine, libraries=("json", "no_such_module")), rootdir=tmp_path)
    with pytest.raises(EngineNotInstalled, match="'toy' is not installed there"):
        find_interpreter(engine, rootdir=tmp_path, setting=str(folder.parent))
