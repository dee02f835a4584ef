"""Differences between few launches: their intervals, p-values, and what could have been found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_msprof.statistics import Difference, centre, holm, shift, welch

VALUES = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=8).map(np.array)


def test_welch_agrees_with_scipy():
    from scipy.stats import ttest_ind

    golden, current = np.array([1.0, 1.2, 0.9, 1.1]), np.array([1.4, 1.3, 1.9, 1.2, 1.35])
    reference = ttest_ind(current, golden, equal_var=False)
    difference = welch(golden, current)
    assert difference.p_value() == pytest.approx(reference.pvalue)
    assert difference.degrees == pytest.approx(reference.df)
    assert difference.interval() == pytest.approx(tuple(reference.confidence_interval(0.95)))


@given(golden=VALUES, current=VALUES, band=st.floats(0, 2))
@settings(deadline=None)
def test_p_is_below_five_per_cent_exactly_where_the_interval_lies_beyond_the_band(golden, current, band):
    difference = welch(golden, current)
    low, high = difference.interval()
    p_value = difference.p_value(-band, band)
    if abs(p_value - 0.05) > 1e-6:
        assert (p_value < 0.05) == (low > band or high < -band)


@given(golden=VALUES, current=VALUES)
@settings(deadline=None)
def test_exchanging_the_sides_turns_the_sign_and_nothing_else(golden, current):
    there, back = welch(golden, current), welch(current, golden)
    assert there.estimate == -back.estimate
    assert there.error == pytest.approx(back.error)
    assert there.p_value() == pytest.approx(back.p_value())


def test_one_launch_a_side_says_nothing_about_the_noise():
    difference = welch(np.array([1.0]), np.array([2.0]))
    assert difference.interval() == (-math.inf, math.inf)
    assert difference.p_value() == 1
    assert difference.detectable() == math.inf


def test_one_launch_a_side_is_judged_by_noise_that_was_measured_earlier():
    difference = welch(np.array([0.0]), np.array([0.5]), noise=0.1)
    assert difference.error == pytest.approx(0.1 * math.sqrt(2))
    assert difference.interval() == pytest.approx(
        (0.5 - 1.96 * difference.error, 0.5 + 1.96 * difference.error), abs=1e-3
    )


def test_launches_that_scatter_more_than_the_earlier_noise_are_believed():
    loud = np.array([0.0, 1.0])
    assert welch(loud, loud, noise=0.1).error == pytest.approx(loud.std(ddof=1))


def test_values_without_any_spread_differ_surely_or_not_at_all():
    same, other = np.full(4, 0.9), np.full(5, 0.8)
    assert welch(same, same.copy()).p_value() == 1
    assert welch(same, np.full(5, 0.9)).p_value() == 1
    assert welch(same, other).p_value() == 0
    assert welch(same, other).interval() == pytest.approx((-0.1, -0.1))


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(1)
    planned = Difference(0.0, 0.05 * math.sqrt(2 / 5), 8).detectable()
    golden, current = rng.normal(0, 0.05, (1000, 5)), rng.normal(planned, 0.05, (1000, 5))
    found = np.mean([welch(a, b).p_value() < 0.05 for a, b in zip(golden, current, strict=True)])
    assert found == pytest.approx(0.8, abs=0.04)


def test_a_change_is_relative_to_golden_on_the_log_scale():
    found = shift([[1.0], [1.0]], [[2.0], [2.0]])
    assert found.relative(found.difference.estimate) == pytest.approx(1.0)
    back = shift([[2.0], [2.0]], [[1.0], [1.0]])
    assert back.relative(back.difference.estimate) == pytest.approx(-0.5)


def test_a_launch_counts_once_however_many_loads_it_had():
    found = shift([[1.0] * 50, [4.0]], [[2.0], [2.0]])
    assert found.golden == pytest.approx(2.0)
    assert (found.launches_golden, found.launches_current) == (2, 2)
    assert centre([[1.0] * 50, [4.0]]) == pytest.approx(2.0)


def test_a_zero_among_the_values_makes_the_change_one_of_plain_means():
    found = shift([[1.0], [0.8]], [[0.0], [0.9]])
    assert not found.logarithmic
    assert found.relative(found.difference.estimate) == pytest.approx(-0.5)


def test_nothing_is_relative_to_a_golden_zero():
    assert shift([[0.0], [0.0]], [[1.0], [1.0]]).difference is None


def test_holm_multiplies_the_smallest_most_and_never_reorders():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=10))
def test_holm_stays_between_the_value_and_bonferroni(p_values):
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= 1
    if p_values:
        assert min(holm(p_values)) == min(1, min(p_values) * len(p_values))
