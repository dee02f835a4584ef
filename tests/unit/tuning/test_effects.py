"""What fields do: found where it is, near 0 where there is nothing, honest about how little a few trials say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from pytest_msprof import SearchSpace, choice, integers, steps
from pytest_msprof.tuning.effects import effects
from pytest_msprof.tuning.ranking import Measured

SPACE = SearchSpace(
    integers("seqs", 1, 256, log=True), choice("kernel", ["x", "y", "z"]), choice("eager", [False, True])
)
DISTRIBUTIONS = {
    "seqs": IntDistribution(1, 256, log=True),
    "kernel": CategoricalDistribution(["x", "y", "z"]),
    "eager": CategoricalDistribution([False, True]),
}


def tried(objective: Callable[[dict[str, Any]], float], *, n: int = 14, seed: int = 0) -> list[Measured]:
    """Return *n* trials drawn by lot, measured with 5 % noise."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        chosen = {
            "seqs": round(math.exp(random.uniform(0, math.log(256)))),
            "kernel": str(random.choice(["x", "y", "z"])),
            "eager": bool(random.integers(2)),
        }
        made.append(Measured(chosen, DISTRIBUTIONS, objective(chosen) * math.exp(random.normal(0, 0.05)), {}))
    return made


def scaling(chosen: dict[str, Any]) -> float:
    return 100 * min(chosen["seqs"], 64) ** 0.5 * (1.5 if chosen["eager"] else 1)


def test_the_field_that_decides_comes_first_and_its_course_is_found():
    first, *others = effects(tried(scaling), SPACE)

    assert first.field == "seqs"
    assert first.low > max(other.high for other in others)
    assert first.points[0].value == 1
    assert first.points[-1].value == 256
    for point in first.points[1:-1]:
        expected = scaling({"seqs": point.value, "eager": False}) * 1.5**0.5
        assert point.low * 0.8 < expected < point.high * 1.25


@pytest.mark.parametrize("seed", range(4))
def test_fields_that_do_nothing_are_hardly_important(seed):
    random = np.random.default_rng(seed + 100)
    trials = tried(lambda _: 1000.0, seed=seed, n=12)
    again = [trial._replace(value=1000 * math.exp(random.normal(0, 0.05))) for trial in trials[:3] for _ in range(4)]

    for effect in effects([*trials, *again], SPACE):
        assert effect.importance < 0.1
        assert effect.low < 0.02


def test_fewer_trials_say_less():
    few, many = effects(tried(scaling, n=8), SPACE), effects(tried(scaling, n=30), SPACE)

    def width(found):
        points = next(effect for effect in found if effect.field == "seqs").points
        return np.mean([math.log(point.high / point.low) for point in points])

    assert width(few) > 1.3 * width(many)


def test_five_trials_say_nothing():
    assert effects(tried(scaling, n=5), SPACE) == ()


def test_an_objective_that_is_not_positive_has_effects_too():
    found = effects(tried(lambda chosen: -1.0 - chosen["eager"]), SPACE)

    assert found[0].field == "eager"
    assert found[0].points[0].mean > found[0].points[1].mean


def test_steps_are_shown_as_people_wrote_them():
    space = SearchSpace(steps("block_size", 32, 128, 32), choice("eager", [False, True]))
    kinds = {"block_size": IntDistribution(0, 3), "eager": CategoricalDistribution([False, True])}
    trials = [
        Measured({"block_size": place, "eager": bool(other)}, kinds, 10.0 + place, {})
        for place in range(4)
        for other in range(2)
    ]

    assert [point.value for point in effects(trials, space)[0].points] == [32, 64, 96, 128]
