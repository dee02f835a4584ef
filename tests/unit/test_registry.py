"""Registering: types are checked, and the nearer to the user, the stronger the word."""

from __future__ import annotations

import pytest

from pytest_msprof.errors import PluginError, UnknownName
from pytest_msprof.interfaces import BenchmarkInterface, LoadGenerator, SimulatorInterface
from pytest_msprof.registry import Registry, registering


def engine(module: str) -> type[SimulatorInterface]:
    return type("Engine", (SimulatorInterface,), {"__module__": module})


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_registered_engine_is_found_by_name_with_its_source(registry: Registry) -> None:
    cls = engine("mine")
    registry.simulators.add("mine", cls, source="my-dist")
    assert registry.simulators.get("mine") is cls
    assert registry.simulators.source("mine") == "my-dist"
    assert "mine" in registry.simulators
    assert registry.simulators.names() == ("mine",)


def test_an_unknown_engine_is_an_error_that_lists_the_nearest(registry: Registry) -> None:
    registry.simulators.add("vllm", engine("msprof_plugins.vllm"))
    registry.simulators.add("mindie", engine("msprof_plugins.mindie"))
    with pytest.raises(UnknownName, match=r"unknown engine 'vlm' \(known: mindie, vllm\); did you mean 'vllm'"):
        registry.simulators.get("vlm")


@pytest.mark.parametrize("kind", ["simulators", "benchmarks"])
def test_a_class_of_another_kind_is_an_error_that_names_class_and_wish(registry: Registry, kind: str) -> None:
    with pytest.raises(PluginError, match=r"must be a subclass of .*, not builtins.dict \(by my-dist\)"):
        getattr(registry, kind).add("x", dict, source="my-dist")


def test_something_that_is_no_class_is_an_error(registry: Registry) -> None:
    with pytest.raises(PluginError, match="not str 'vllm'"):
        registry.simulators.add("x", "vllm")


def test_a_name_must_be_a_word(registry: Registry) -> None:
    with pytest.raises(PluginError, match="name of an engine must be a non-empty string, not 3"):
        registry.simulators.add(3, engine("mine"))


def test_benchmarks_of_both_interfaces_register(registry: Registry) -> None:
    for base in (BenchmarkInterface, LoadGenerator):
        registry.benchmarks.add(base.__name__, type("Mine", (base,), {}))
    assert len(registry.benchmarks.names()) == 2


def test_a_plugin_beats_the_built_in_engine_whichever_comes_first(registry: Registry) -> None:
    built_in, plugin = engine("msprof_plugins.vllm"), engine("stranger")
    for name, order in (("a", (built_in, plugin)), ("b", (plugin, built_in))):
        for cls in order:
            source = "" if cls is built_in else "stranger-dist"
            registry.simulators.add(name, cls, source=source)
        assert registry.simulators.get(name) is plugin


def test_a_conftest_beats_a_plugin_whichever_comes_first(registry: Registry) -> None:
    plugin, user = engine("stranger"), engine("conftest")
    for name, order in (("a", (user, plugin)), ("b", (plugin, user))):
        for cls in order:
            registry.simulators.add(name, cls, source="stranger-dist" if cls is plugin else "")
        assert registry.simulators.get(name) is user


def test_of_two_equals_the_later_one_counts(registry: Registry) -> None:
    first, second = engine("a"), engine("b")
    registry.simulators.add("x", first, source="a-dist")
    registry.simulators.add("x", second, source="b-dist")
    assert registry.simulators.get("x") is second


class Invalid(SimulatorInterface):
    base_url = "http://127.0.0.1:1/health"

    def __init__(self, **options: object) -> None:
        raise ValueError("Settings is invalidator.")

    def update_command(self) -> None:
        """Never asked for."""


@pytest.mark.parametrize("wanted", ["x", Invalid])
def test_a_constructor_that_raises_is_an_error_of_its_plugin(registry: Registry, wanted: str | type) -> None:
    registry.simulators.add("x", Invalid, source="my-dist")
    with pytest.raises(PluginError, match=r"Invalid of 'my-dist' cannot be made: ValueError: Settings is inv"):
        registry.simulators.make(wanted)


def test_what_is_registered_while_a_plugin_loads_is_attributed_to_it(registry: Registry) -> None:
    with registering("stranger-dist"):
        registry.simulators.add("x", engine("conftest"))
    assert registry.simulators.source("x") == "stranger-dist"
