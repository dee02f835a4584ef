"""A workload says what is asked, checks it, and has an identity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof import Workload
from pytest_msprof.errors import InvalidWorkload


def test_without_a_load_it_is_one_request_after_the_other():
    assert (Workload().concurrency, Workload().request_rate) == (1, None)
    assert Workload(request_rate=2.0).concurrency is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"concurency": 4}, "unknown workload field 'concurency' (known: input_tokens, "),
        ({"concurrency": 0}, "workload field 'concurrency': input should be greater than or equal to 1, but got 0"),
        ({"request_rate": float("inf")}, "workload field 'request_rate'"),
        ({"input_tokens": "many"}, "but got 'many'"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(values, message):
    with pytest.raises(InvalidWorkload) as caught:
        Workload(**values)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_load_leaves_the_requests_as_they_are():
    workload = Workload(concurrency=2, seed=5, num_requests=7)

    assert workload.with_load(concurrency=8) == Workload(concurrency=8, seed=5, num_requests=7)
    assert workload.with_load(request_rate=3.0).concurrency == 2
    assert workload.with_load() == workload
    with pytest.raises(InvalidWorkload):
        workload.with_load(concurrency=0)


@given(st.integers(1, 100), st.integers(1, 100))
def test_equal_workloads_and_only_those_have_equal_hashes(one, other):
    hashes = [Workload(concurrency=value).hash() for value in (one, other)]

    assert (hashes[0] == hashes[1]) == (one == other)


def test_the_tokenizer_that_makes_the_prompts_is_part_of_the_identity():
    assert Workload().hash("a") != Workload().hash("b")
    assert Workload().hash() == Workload().hash("")


def test_hashes_of_stored_goldens_hold():
    assert Workload().hash("a") == "06823dec472aaa3d"
    assert Workload(concurrency=4, endpoint="chat", request_rate=2.5).hash() == "34125b63010f1f2f"


def test_what_changes_a_request_changes_the_hash_and_a_limit_on_its_answer_does_not():
    assert Workload(stream=False).hash() != Workload().hash()
    assert Workload(sampling={"temperature": 0.7}).hash() != Workload().hash()
    assert Workload(goodput={"ttft": 0.5}).hash() == Workload().hash()
