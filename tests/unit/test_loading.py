"""Loading plugins: every group is read, each plugin once, and a broken one is an error that names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

SEED = "msserviceprofiler.modelevalstate.plugins"
LATER = "ms_serviceparam_optimizer.plugins"
SHORT = "modelevalstate.plugins"
OURS = "pytest_msprof.plugins"

ENGINE = """
from pytest_msprof.interfaces import SimulatorInterface
class Engine(SimulatorInterface):
    base_url = "http://127.0.0.1:1/health"
    def update_command(self): ...
"""


class Site:
    """A folder of installed distributions, and an interpreter that sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, code: str, *groups: str, value: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        entries = "\n".join(f"[{group}]\n{name} = {value}\n" for group in groups)
        (info / "entry_points.txt").write_text(entries)

    def run(self, code: str) -> Any:
        start = """
            import json
            from pytest_msprof.aliases import install_aliases
            from pytest_msprof.loading import load_plugins
            from pytest_msprof.registry import REGISTRY
            install_aliases()
            modules = []
            def load():
                errors = map(str, load_plugins(lambda module, name: modules.append((module.__name__, name))))
                return [error for error in errors if "stranger" in error]
        """
        root = Path(__file__).parents[2]
        path = os.pathsep.join(map(str, (self.folder, root, root / "plugins")))
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code)],
            env={**os.environ, "PYTHONPATH": path},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("group", [OURS, LATER, SEED, SHORT])
def test_a_callable_in_any_of_the_groups_registers(site: Site, group: str) -> None:
    code = ENGINE + (
        "def register():\n"
        "    from msserviceprofiler.modelevalstate.optimizer.register import register_simulator\n"
        "    register_simulator('mine', Engine)\n"
    )
    site.install("stranger", code, group, value="stranger:register")
    code = "print(json.dumps([load(), 'mine' in REGISTRY.simulators, REGISTRY.simulators.source('mine')]))"
    assert site.run(code) == [[], True, "stranger"]


def test_a_callable_in_two_groups_is_called_once_even_when_loading_twice(site: Site) -> None:
    site.install("stranger", "calls = []\ndef register(): calls.append(1)", SEED, SHORT, value="stranger:register")
    assert site.run("load(); load(); import stranger; print(json.dumps(len(stranger.calls)))") == 1


def test_a_hook_module_is_handed_over_at_each_loading(site: Site) -> None:
    site.install("stranger", "", OURS, value="stranger")
    found = site.run("load(); load(); print(json.dumps([m for m in modules if m[0] == 'stranger']))")
    assert found == [["stranger", "stranger"]] * 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def register(): raise ValueError('bad day')", "ValueError: bad day"),
        ("register = 5", "it is 5, neither a module nor a function"),
        ("def other(): ...", "has no attribute 'register'"),
        ("import pytest_msprof as m\ndef register(): m.register_simulator('x', int)", "must be a subclass of"),
    ],
)
def test_a_broken_plugin_is_an_error_that_names_its_distribution(site: Site, code: str, reason: str) -> None:
    site.install("stranger", code, SEED, value="stranger:register")
    (error,) = site.run("print(json.dumps(load()))")
    assert "plugin 'stranger' of distribution 'stranger' cannot be loaded" in error
    assert reason in error


def test_a_broken_plugin_leaves_the_others_alone(site: Site) -> None:
    site.install("stranger", "raise RuntimeError", SEED, value="stranger:register")
    site.install("sound", "calls = []\ndef register(): calls.append(1)", SEED, value="sound:register")
    assert site.run("load(); import sound; print(json.dumps(sound.calls))") == [1]


def original(site: Site) -> None:
    """Install something of the shape of the original tool: its own registry and interfaces."""
    package = site.folder / "msserviceprofiler" / "modelevalstate" / "optimizer"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "register.py").write_text(
        "simulates, benchmarks = {}, {}\n"
        "def register_simulator(name, cls): simulates[name] = cls\n"
        "def register_benchmarks(name, cls): benchmarks[name] = cls\n"
    )


WORN = """
    from pydantic import BaseModel
    from msserviceprofiler.modelevalstate.optimizer.register import register_benchmarks, register_simulator

    class Field(BaseModel):
        name: str = "MAX_NUM_SEQS"
        config_position: str = "env"
        min: float = 1
        max: float = 9
        dtype: str = "int"
        value: int | None = 2
        dtype_param: None = None
        constant: None = None

    class Index(BaseModel):
        generate_speed: float = 5.0

    class Worn:
        def __init__(self, bak_path=None):
            self.data_field, self.env, self.command = (Field(),), {"MARK": "1"}, None
        base_url = "http://127.0.0.1:1/health"
        num_prompts = 7
        def update_command(self):
            self.command = ["serve", str(self.data_field[0].value)]
        def update_config(self, params): return True
        def get_performance_index(self): return Index()

    def register():
        register_simulator("worn", Worn)
        register_benchmarks("worn_bench", Worn)
"""


def test_classes_registered_with_an_installed_original_are_adapted(site: Site) -> None:
    original(site)
    site.install("stranger", WORN, SEED, value="stranger:register")
    found = site.run(
        """
        problems = load()
        simulator = REGISTRY.simulators.get("worn")()
        simulator.data_field = tuple(f.model_copy(update={"value": 8}) for f in simulator.data_field)
        simulator.update_command()
        benchmark = REGISTRY.benchmarks.get("worn_bench")()
        speed = benchmark.get_performance_index().generate_speed
        print(json.dumps([problems, simulator.command, simulator.base_url, benchmark.num_prompts, speed]))
        """
    )
    assert found == [[], ["serve", "8"], "http://127.0.0.1:1/health", 7, 5.0]


def test_a_module_registering_with_an_installed_original_is_adapted_beside_what_cannot_be(site: Site) -> None:
    original(site)
    code = f"{textwrap.dedent(WORN)}\nregister_simulator('odd', int)\nregister()\n"
    site.install("stranger", code, SEED, value="stranger")

    (error,), known = site.run("print(json.dumps([load(), 'worn' in REGISTRY.simulators]))")

    assert "builtins.int cannot be adapted: it lacks base_url, update_command" in error
    assert known


def test_a_class_of_the_original_that_cannot_be_adapted_is_an_error_that_names_the_plugin(site: Site) -> None:
    original(site)
    code = (
        "from msserviceprofiler.modelevalstate.optimizer.register import register_simulator\n"
        "def register(): register_simulator('worn', int)\n"
    )
    site.install("stranger", code, SEED, value="stranger:register")
    (error,) = site.run("print(json.dumps(load()))")
    assert "distribution 'stranger'" in error
    assert "cannot be adapted: it lacks base_url, update_command" in error
