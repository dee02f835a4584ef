"""Percentiles equal NumPy's, and their intervals hold what binomial order statistics promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pytest_msprof import intervals
from pytest_msprof.intervals import effective_size, percentile_ranks, percentiles

WANTED = (50.0, 90.0, 99.0)
VALUES = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=200).map(np.array)


@given(VALUES)
def test_percentiles_are_interpolated_linearly(values):
    found, _ = percentiles(values, WANTED)
    assert [found[q] for q in WANTED] == pytest.approx(np.percentile(values, WANTED).tolist())


@given(VALUES)
def test_an_interval_runs_between_two_values_around_its_percentile(values):
    found, bounds = percentiles(values, WANTED)
    for q, (low, high) in bounds.items():
        assert low <= found[q] <= high
        assert {low, high} <= set(values.tolist())


@given(st.integers(1, 2000), st.sampled_from(WANTED))
def test_the_chance_that_an_interval_holds_the_percentile_is_at_least_95_percent(size, q):
    ranks = percentile_ranks(size, q, effective=size)
    if ranks is not None:
        low, high = ranks
        assert binom.cdf(high, size, q / 100) - binom.cdf(low, size, q / 100) >= 0.95


@pytest.mark.parametrize(("q", "enough"), [(50, 6), (90, 36), (99, 368), (99.9, 3688)])
def test_a_percentile_has_an_interval_from_so_many_values_on(q, enough):
    assert percentile_ranks(enough - 1, q, effective=enough - 1) is None
    assert percentile_ranks(enough, q, effective=enough) == (
        percentile_ranks(enough, q, effective=enough)[0],
        enough - 1,
    )


def test_values_that_repeat_each_other_count_once():
    single = np.random.default_rng(1).normal(size=400)
    repeated, groups = np.repeat(single, 50), np.full(400, 50)

    assert effective_size(repeated <= 0, groups) == pytest.approx(400, rel=0.01)
    (low, high), (one_low, one_high) = (
        percentiles(repeated, (50.0,), groups=groups)[1][50.0],
        percentiles(single, (50.0,))[1][50.0],
    )
    assert (low, high) == pytest.approx((one_low, one_high), abs=0.05)


def test_values_that_have_nothing_to_do_with_each_other_count_each():
    values = np.random.default_rng(2).normal(size=20_000)
    assert effective_size(values <= 0, np.full(400, 50)) > 16_000


def test_one_request_alone_supports_no_interval():
    assert percentiles(np.arange(1000.0), (50.0,), groups=np.array([1000]))[1] == {}


def test_very_many_values_are_ordered_in_single_precision(monkeypatch):
    monkeypatch.setattr(intervals, "LARGE", 100)
    values = np.random.default_rng(3).exponential(size=1001)
    found, bounds = percentiles(values, WANTED)
    assert [found[q] for q in WANTED] == pytest.approx(np.percentile(values, WANTED).tolist(), rel=1e-6)
    assert bounds.keys() == {50.0, 90.0, 99.0}
