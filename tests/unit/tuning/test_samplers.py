"""What `search=` may be: a name of ours, a plugin's, or any sampler of Optuna's."""

from __future__ import annotations

from importlib.util import find_spec

import optuna
import pytest
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, choice
from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.tuning.samplers import ANYWHERE, BUILT_IN, make_sampler


def made(search, **options):
    return make_sampler(search, seed=1, plan=make_plan(subject_to={"ttft.p50": 1}), **options)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", [*ANYWHERE, *map(BUILT_IN.__getitem__, ANYWHERE)])
def test_every_name_that_searches_everywhere_makes_the_sampler_it_stands_for(name):
    assert type(made(name)).__name__ == BUILT_IN.get(name, name)


@pytest.mark.parametrize("name", ["brute", "manual", "quick", "pso"])
def test_a_search_by_rule_brings_its_walk(name):
    assert callable(made(name).walk.next)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", ["optuna:NSGAIISampler", "optuna:qmc", "NSGAIIISampler", "optuna:TPE"])
def test_a_sampler_of_optuna_is_made_by_its_name(name):
    wanted = name.removeprefix("optuna:").lower().removesuffix("sampler")

    assert type(made(name)).__name__.lower() == f"{wanted}sampler"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("optuna:anneal", "unknown sampler of optuna 'anneal' .*TPESampler"),
        ("optuna:grid", "search='brute' makes a grid"),
        ("optuna:BruteForceSampler", "search='manual' measures everything"),
        ("optuna:PartialFixedSampler", "constant"),
        ("optuna:BaseSampler", "unknown sampler of optuna 'BaseSampler'"),
    ],
)
def test_a_sampler_of_optuna_that_is_none_here_says_what_is_possible(name, message):
    with pytest.raises(ConfigurationError, match=message):
        made(name)


@pytest.mark.parametrize(
    ("name", "package"), [("optuna:cmaes", "cmaes"), ("optuna:GPSampler", "torch"), ("botorch", "optuna_integration")]
)
def test_a_sampler_without_its_package_names_it(name, package):
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")

    with pytest.raises(ConfigurationError, match=f"pip install {package.replace('_', '-')}"):
        made(name)


def test_a_sampler_of_optuna_is_taken_as_it_is():
    sampler = optuna.samplers.NSGAIISampler(seed=1)

    assert made(sampler) is sampler


class Branching(optuna.samplers.BruteForceSampler):
    pass


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (optuna.samplers.BruteForceSampler, r"search=BruteForceSampler\(…\) .* search='manual' measures everything"),
        (Branching, "search='manual' measures everything"),
        (lambda: optuna.samplers.GridSampler({"size": [1, 2]}), "search='brute' makes a grid"),
        (lambda: optuna.samplers.PartialFixedSampler({}, optuna.samplers.BruteForceSampler()), "BruteForceSampler"),
    ],
)
def test_a_sampler_that_would_stop_the_loop_of_optuna_is_refused_with_what_is_possible(make, message):
    with pytest.raises(ConfigurationError, match=message):
        made(make())


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_that_fixes_a_field_of_another_searches_the_rest(tmp_path):
    space = SearchSpace(choice("size", [1, 2, 4]), choice("kind", ["a", "b"]), default={"size": 1, "kind": "a"})
    sampler = optuna.samplers.PartialFixedSampler({"kind": "b"}, optuna.samplers.RandomSampler(seed=1))
    study = make_study(tmp_path, make_plan(space, search=sampler))
    for _ in range(4):
        study.tell(study.ask(), make_run(1.0))

    assert [record.fields["kind"] for record in study.records()] == ["a", "b", "b", "b"]


def test_a_plugin_is_asked_first():
    sampler = optuna.samplers.RandomSampler(seed=2)
    asked = []

    def offer(*question):
        asked.append(question)
        return sampler if question[0] == "auto" else None

    assert made("auto", offer=offer) is sampler
    assert made("random", offer=offer) is not sampler
    assert asked == [("auto", 1, ("ttft.p50",)), ("random", 1, ("ttft.p50",))]


@pytest.mark.parametrize("search", ["anneal", 5, None])
def test_anything_else_is_an_unknown_search(search):
    with pytest.raises(UnknownName, match=f"unknown search '{search}'"):
        made(search)
