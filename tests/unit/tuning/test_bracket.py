"""A bracket finds the largest load within the limits, and does not believe one outlier."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof.tuning.bracket import Bracket


def searched(strain, start=8.0, **options):
    """Tell a bracket everything it asks for; return it and the loads in turn."""
    bracket, loads = Bracket(start, **options), []
    while (load := bracket.load) is not None:
        loads.append(load)
        bracket.tell(strain(load))
    return bracket, loads


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("start", [1.0, 60.0, 2000.0])
def test_a_smooth_limit_is_found_within_eight_percent(power, start):
    bracket, loads = searched(lambda load: (load / 100) ** power, start)

    assert 100 / 1.09 <= bracket.best <= 100
    assert len(loads) <= 9


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("edge", [33.0, 40.0, 47.0, 63.0])
def test_a_limit_between_the_first_two_loads_and_no_power_of_two_is_found(edge, whole):
    bracket, loads = searched(lambda load: (load / edge) ** 2, 32.0, whole=whole)

    assert loads[0] <= edge < loads[1]
    assert edge / 1.09 <= bracket.best <= edge


def test_six_loads_reach_99_percent_of_a_queue_that_fills_up_on_the_mean():
    draw = random.Random(0)
    found = []
    for _ in range(200):
        edge = math.exp(draw.uniform(math.log(4), math.log(900)))
        start = max(1, edge * math.exp(draw.gauss(0, 0.7)))
        bracket, loads = searched(
            lambda load, edge=edge: (1 + 0.6 * load / edge) / max(1e-3, 9.6 - 8 * load / edge), start
        )
        found.append((bracket.best / math.floor(edge), len(loads)))

    assert sum(share for share, _ in found) / len(found) >= 0.99
    assert sum(number for _, number in found) / len(found) <= 6


def test_one_outlier_far_below_the_truth_does_not_close_the_bracket():
    seen = set()

    def strain(load):
        outlier = not seen
        seen.add(load)
        return 1.6 if outlier else load / 100

    bracket, _ = searched(strain, 50.0)

    assert bracket.best >= 92


def test_a_wide_miss_needs_no_second_look():
    _, loads = searched(lambda load: 0.9 if load <= 10 else 5.0, 10.0)

    assert max(loads[-2:]) <= 12


def test_a_load_beyond_what_anything_bears_leaves_the_lightest():
    bracket, loads = searched(lambda load: 3 + load, 50.0)

    assert (bracket.best, bracket.answer) == (None, 1.0)
    assert loads[-1] == 1


def test_nothing_that_the_service_cannot_bear_ends_at_the_highest_load():
    bracket, _ = searched(lambda _: 0.0, 8.0, most=64)

    assert bracket.best == 64


def test_a_bracket_that_closed_hears_nothing_more():
    bracket, _ = searched(lambda load: load / 10)

    with pytest.raises(ValueError, match="closed"):
        bracket.tell(0.5)


@given(
    edge=st.floats(0.5, 5000),
    start=st.floats(1, 4096),
    power=st.floats(0.1, 6),
    whole=st.booleans(),
    strains=st.lists(st.floats(0, 1e6) | st.just(math.inf), max_size=3),
)
def test_every_load_lies_within_the_bounds_and_is_asked_once(edge, start, power, whole, strains):
    noise = iter(strains)
    bracket, loads = searched(lambda load: next(noise, (load / edge) ** power), start, whole=whole)

    assert all(1 <= load <= 4096 for load in loads)
    assert len(set(loads)) == len(loads) <= 12
    assert not whole or all(load == int(load) for load in loads)
    assert bracket.answer in loads


def test_a_load_that_misses_and_brings_no_more_than_the_best_ends_it():
    bracket = Bracket(64, to_beat=100.0)
    bracket.tell(1.4, 90.0)
    assert bracket.load is None
    assert bracket.answer == 64


def test_a_load_that_misses_and_brings_more_is_followed_down():
    bracket = Bracket(64, to_beat=100.0)
    bracket.tell(1.4, 150.0)
    assert bracket.load is not None
    assert bracket.load < 64


def test_it_ends_where_the_throughput_stands_still_between_what_held_and_what_missed():
    bracket = Bracket(16)
    bracket.tell(0.5, 100.0)
    bracket.tell(1.5, 104.0)
    assert bracket.load is None
    assert bracket.best == 16


def test_it_ends_where_much_more_load_brings_no_more():
    bracket = Bracket(16)
    bracket.tell(0.2, 100.0)
    bracket.tell(0.4, 101.0)
    assert bracket.load is None


def test_a_narrow_miss_beside_the_best_is_looked_at_once_more():
    bracket = Bracket(64, to_beat=100.0)
    bracket.tell(1.05, 99.0)
    assert 64 < bracket.load < 80
    bracket.tell(0.9, 112.0)
    assert bracket.load > bracket.best > 64


def test_two_misses_beside_the_best_end_it():
    bracket = Bracket(64, to_beat=100.0)
    bracket.tell(1.05, 99.0)
    bracket.tell(1.2, 112.0)
    assert bracket.load is None
    assert bracket.answer == 64


@pytest.mark.parametrize(("strain", "value"), [(2.5, 99.0), (1.05, 90.0)])
def test_a_wide_miss_and_a_throughput_far_behind_need_no_second_look(strain, value):
    bracket = Bracket(64, to_beat=100.0)
    bracket.tell(strain, value)
    assert bracket.load is None


def test_a_narrow_miss_just_above_what_held_is_looked_at_once_more():
    bracket = Bracket(16)
    bracket.tell(0.9, 100.0)
    near = bracket.load
    bracket.tell(1.05, 104.0)
    assert near < 16 * 1.25
    assert bracket.load > near


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("edge", [72.0, 85.0, 100.0])
def test_an_outlier_does_not_cost_a_configuration_better_than_the_best_its_place(place, edge):
    """At the first, second or third load a limit is missed that would have held."""
    bracket, told = Bracket(60.0, to_beat=60.0), 0
    while (load := bracket.load) is not None:
        bracket.tell(1.3 if told == place and load <= edge else load / edge, load * 0.99)
        told += 1

    assert edge / 1.2 <= bracket.best <= edge
    assert told <= 8


def test_a_miss_without_a_throughput_does_not_keep_it_from_ending():
    bracket = Bracket(64)
    bracket.tell(math.inf)
    bracket.tell(0.1, 100.0)
    while bracket.load is not None and bracket.load < 60:
        bracket.tell(0.2, 100.5)
    assert bracket.load is None
