"""Several objectives: the front of what nothing beats, and gains that have weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof.tradeoffs import front, weighted

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)
WAYS = st.tuples(st.booleans(), st.booleans(), st.booleans())


def beats(one, other, maximize):
    gains = [(mine - yours) * (1 if up else -1) for mine, yours, up in zip(one, other, maximize, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


@given(ROWS, WAYS)
def test_the_front_is_what_nothing_beats(rows, maximize):
    expected = [place for place, row in enumerate(rows) if not any(beats(other, row, maximize) for other in rows)]

    assert front(rows, maximize) == expected
    assert expected


def test_nothing_has_no_front():
    assert front([], [True, False]) == []


def test_a_weighted_gain_is_a_share_of_the_base():
    rows = [(100.0, 0.2), (200.0, 0.2), (200.0, 0.4), (100.0, 0.1)]

    even = weighted(rows, [True, False], [1, 1], rows[0])
    mostly_speed = weighted(rows, [True, False], [3, 1], rows[0])

    assert even == pytest.approx([0, 2**0.5 - 1, 0, 2**0.5 - 1])
    assert mostly_speed == pytest.approx([0, 2**0.75 - 1, 2**0.5 - 1, 2**0.25 - 1])
