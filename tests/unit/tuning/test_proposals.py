"""Optuna's parameters and our configurations are two spellings of one thing."""

from __future__ import annotations

import random

import optuna
import pytest

from pytest_msprof import SearchSpace, choice, floats, integers, quotient, ratio, share, steps
from pytest_msprof.ids import digest
from pytest_msprof.tuning.proposals import completed, parameters, suggest, unseen

SPACES = {
    "numbers": SearchSpace(integers("a", 1, 64, log=True), floats("b", 0.1, 0.9), steps("c", 0, 100, 25)),
    "words": SearchSpace(choice("mode", ["", "fast", None, 1, True, 2.5, ["x", 1], {"y": 2}])),
    "conditions": SearchSpace(choice("on", [False, True]), integers("n", 1, 8, when="on"), where=["n != 3"]),
    "followers": SearchSpace(
        integers("devices", 1, 8),
        share("part", "devices"),
        quotient("rest", 64, "devices"),
        ratio("few", "devices", 0, 1),
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_suggested_configuration_is_one_of_the_space(name):
    space, study = SPACES[name], optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(30):
        trial = study.ask()
        fields = suggest(trial, space)

        assert space.resolve(fields) == fields
        again = optuna.trial.FixedTrial(parameters(space, fields))
        if "few" not in fields:
            assert suggest(again, space) == fields
        study.tell(trial, 0.0)


def test_values_that_are_equal_and_of_another_type_stay_apart():
    space = SearchSpace(choice("x", [1, True, 1.5]))

    found = [suggest(optuna.trial.FixedTrial({"x": value}), space)["x"] for value in (1, True, 1.5)]

    assert [type(value) for value in found] == [int, bool, float]


def test_only_named_fields_are_chosen_for_a_default():
    trial = optuna.trial.FixedTrial({"a": 8})

    assert suggest(trial, SPACES["numbers"], only={"a"}) == {"a": 8}


@pytest.mark.parametrize("name", ["words", "conditions"])
def test_every_configuration_of_a_countable_space_is_drawn_once(name):
    space, generator, known = SPACES[name], random.Random(0), set()
    while (drawn := unseen(space, known, generator)) is not None:
        fields = suggest(optuna.trial.FixedTrial(drawn), space)
        assert digest(fields) not in known
        assert not space.violations(fields)
        known.add(digest(fields))

    assert len(known) == space.size()


def test_a_needle_in_a_space_too_large_to_look_through_is_given_up():
    numbers = [integers(name, 1, 1000) for name in "abc"]
    space = SearchSpace(*numbers, default={"a": 1, "b": 1, "c": 1}, where=["a * b * c == 1"])

    assert unseen(space, set(), random.Random(0)) is None


def test_an_uncountable_space_always_has_another_point():
    assert unseen(SPACES["numbers"], set(), random.Random(0)).keys() == {"a", "b", "c"}


def test_a_candidate_is_completed_to_what_a_trial_would_really_have():
    space = SPACES["conditions"]

    assert completed(space, {"on": True, "n": 4}) == {"on": True, "n": 4}
    assert completed(space, {"on": False, "n": 4}) == {"on": False}
    assert completed(space, {"on": True, "n": 3}) is None
    assert completed(space, {"on": True}) is None
    assert completed(space, {"on": False, "n": 4}, {digest({"on": False})}) is None
    assert completed(SPACES["words"], {"mode": "fast"}) == {"mode": "fast"}
