"""Requests in columns are the requests that went in."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof.samples import Sample, Samples

seconds = st.floats(0, 1e6)
sample = st.builds(
    Sample,
    due=seconds,
    start=seconds,
    ttft=seconds,
    latency=seconds,
    output_tokens=st.integers(-1, 10_000),
    gaps=st.lists(st.floats(0, 1e6, width=32), max_size=4).map(tuple),
    token_source=st.sampled_from(["", "usage", "tokenizer"]),
    error=st.sampled_from(["", "timeout", "status 500"]),
    closed=seconds,
)


@given(st.lists(sample, max_size=6))
def test_columns_give_back_each_request(requests):
    columns = Samples.of(requests)

    assert list(columns) == requests
    assert columns.ok.tolist() == [not request.error for request in requests]
    assert len(columns) == len(requests)


@given(st.lists(st.lists(sample, max_size=3), max_size=4))
def test_blocks_joined_are_one_list(blocks):
    joined = Samples.concatenate([Samples.of(block) for block in blocks])

    assert list(joined) == [request for block in blocks for request in block]


def test_what_never_happened_is_no_number():
    request = Samples.of([Sample(due=0.0, start=0.0)])[0]

    assert math.isnan(request.ttft)
    assert (request.output_tokens, request.first_tokens) == (-1, 1)


def test_every_column_has_its_name_and_one_value_a_request():
    columns = Samples.of([Sample(due=0.0, start=0.0, gaps=(0.5, 0.25)), Sample(due=1.0, start=1.0)]).columns()

    assert {len(values) for name, values in columns.items() if not name.startswith("gap")} == {2}
    assert columns["gaps"].tolist() == [0.5, 0.25]
    assert columns["gap_offsets"].tolist() == [0, 2, 2]
    assert columns["gap_offsets"].dtype == np.int64


@given(st.lists(sample, min_size=1, max_size=6), st.data())
def test_requests_are_taken_in_any_order(requests, data):
    order = data.draw(st.permutations(range(len(requests))))

    taken = Samples.of(requests).take(np.array(order))

    assert list(taken) == [requests[place] for place in order]


def test_gaps_keep_nanoseconds_in_half_the_memory():
    samples = Samples.of([Sample(due=0.0, start=0.0, gaps=(0.010000001,))])

    assert samples.gaps.dtype == np.float32
    assert abs(float(samples.gaps[0]) - 0.010000001) < 1e-9
