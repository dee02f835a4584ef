"""What `search=` may be: a name of ours, a plugin's, or any sampler of Optuna's."""

from __future__ import annotations

import optuna
import pytest
from measured import make_plan

from pytest_msprof.errors import UnknownName
from pytest_msprof.tuning.samplers import BUILT_IN, make_sampler


def made(search, **options):
    return make_sampler(search, seed=1, plan=make_plan(subject_to={"ttft.p50": 1}), **options)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", [*BUILT_IN, *BUILT_IN.values()])
def test_every_name_of_ours_makes_the_sampler_it_stands_for(name):
    assert type(made(name)).__name__ == BUILT_IN.get(name, name)


def test_a_sampler_of_optuna_is_taken_as_it_is():
    sampler = optuna.samplers.NSGAIISampler(seed=1)

    assert made(sampler) is sampler


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
