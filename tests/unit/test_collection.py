"""From options and marks to items: which there are, what they are called, in which order."""

from __future__ import annotations

from importlib import import_module

import pytest

from pytest_msprof.collection import case_of, engine_of, repeat_of, slot_of

for name in ("pytest_msprof.studies", "pytest_msprof.testing.fake_simulator", "msprof_plugins.load"):
    import_module(name)  # what the first run inside a test imported would be forgotten, and imported again by the next

CONFTEST = """
from pytest_msprof.testing import FakeSimulator

def pytest_msprof_register_simulators(registry):
    for name in ("one", "two"):
        registry.simulators.add(name, FakeSimulator)
"""
HEAD = """
import pytest
from pytest_msprof import SearchSpace, Workload, choice
TUNE = dict(workload=Workload(), objective="output_throughput", n_trials=2, confirm=1)
SPACE = SearchSpace(choice("capacity", [1, 2]))
"""


@pytest.fixture
def collected(pytester):
    pytester.makeconftest(CONFTEST)

    def collected(source, *options):
        pytester.makepyfile(test_it=HEAD + source)
        run = pytester.inline_run("--collect-only", "-p", "no:randomly", *options)
        (finished,) = run.getcalls("pytest_collection_finish")
        return finished.session.items

    return collected


def names(items):
    return [item.nodeid.partition("::")[2] for item in items]


def test_a_test_has_an_item_for_each_engine(collected):
    items = collected("def test_x(service):\n    pass\n", "--msprof-engine=one", "--msprof-engine=two")

    assert names(items) == ["test_x[one]", "test_x[two]"]
    assert [engine_of(item) for item in items] == ["one", "two"]


def test_without_an_engine_there_is_one_item_which_will_skip(collected):
    assert names(collected("def test_x(service):\n    pass\n")) == ["test_x"]


def test_a_test_for_other_engines_is_one_item_that_says_so(collected):
    source = "@pytest.mark.engines('one', 'vllm')\ndef test_x(service):\n    pass\n"

    assert names(collected(source, "--msprof-engine=one", "--msprof-engine=two")) == ["test_x[one]"]
    (item,) = collected(source, "--msprof-engine=two", "--msprof-repeat=4")
    (skip,) = item.iter_markers("skip")
    assert skip.kwargs["reason"] == "for engine one or vllm, but --msprof-engine says two"


def test_a_workload_has_an_item_for_each_concurrency(collected):
    items = collected("def test_x(service, workload):\n    pass\n", "--msprof-engine=one", "--msprof-concurrency=1,8")

    assert names(items) == ["test_x[one-c1]", "test_x[one-c8]"]


def test_repeats_go_round_by_round_and_share_a_case(collected):
    source = (
        "@pytest.mark.parametrize('n', [1, 2])\ndef test_x(service, n):\n    pass\ndef test_y(service):\n    pass\n"
    )
    items = collected(source, "--msprof-engine=one", "--msprof-repeat=2")

    assert names(items) == [
        *("test_x[one-1-repeat0]", "test_x[one-2-repeat0]", "test_y[one-repeat0]"),
        *("test_x[one-1-repeat1]", "test_x[one-2-repeat1]", "test_y[one-repeat1]"),
    ]
    assert [repeat_of(item) for item in items] == [0, 0, 0, 1, 1, 1]
    assert {case_of(item) for item in items} == {
        f"test_it.py::{name}" for name in ("test_x[one-1]", "test_x[one-2]", "test_y[one]")
    }


def test_each_engine_has_rounds_of_its_own(collected):
    items = collected(
        "def test_x(service):\n    pass\n", "--msprof-engine=one", "--msprof-engine=two", "--msprof-repeat=2"
    )

    assert [(engine_of(item), repeat_of(item)) for item in items] == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]


def test_what_starts_no_engine_is_not_repeated(collected):
    assert names(collected("def test_x(load_generator):\n    pass\n", "--msprof-repeat=3")) == ["test_x"]


def test_a_study_has_its_slots_in_their_order_wherever_its_test_stands(collected):
    source = """
@pytest.mark.parametrize("kind", ["a", "b"])
@pytest.mark.tune(SPACE, **TUNE)
def test_study(trial, kind):
    pass
"""
    items = collected(source, "--msprof-engine=one", "--msprof-repeat=3")

    slots = ["trial-0", "trial-1", "confirm-winner-0", "confirm-runner-up-0", "confirm-default-0", "result"]
    assert names(items) == [f"test_study[one-{kind}-{slot}]" for kind in "ab" for slot in slots]
    assert [slot_of(item).id for item in items] == slots * 2
    assert {case_of(item) for item in items} == {"test_it.py::test_study[one-a]", "test_it.py::test_study[one-b]"}


def test_a_study_without_an_engine_has_a_case_without_brackets(collected):
    items = collected("@pytest.mark.tune(SPACE, **TUNE)\ndef test_study(trial):\n    pass\n")

    assert {case_of(item) for item in items} == {"test_it.py::test_study"}


def test_brackets_in_a_parameter_stay_in_the_case(collected):
    source = "@pytest.mark.parametrize('n', ['[]'])\ndef test_x(service, n):\n    pass\n"
    items = collected(source, "--msprof-engine=one", "--msprof-repeat=2")

    assert {case_of(item) for item in items} == {"test_it.py::test_x[one-[]]"}


def test_a_test_that_is_not_ours_is_left_alone(collected):
    source = "@pytest.fixture\ndef trial():\n    pass\n\ndef test_x(trial):\n    pass\n"
    (item,) = collected(source, "--msprof-repeat=3", "--msprof-engine=one")

    assert item.nodeid == "test_it.py::test_x"
    assert slot_of(item) is None
