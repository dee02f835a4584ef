"""What changed is said by the name of each part, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import LOAD, make_plan

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.tuning.differences import differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MANY = [choice(f"field_{number}", ["bfloat16", "float32"]) for number in range(9)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"seed": 1}, {"seed": 2}, "seed: 1 → 2"),
        ({"seed": 1}, {"seed": "1"}, 'seed: 1 → "1"'),
        ({"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": 1, "d": 3}}}, "a.b.d: 2 → 3"),
        ({"a": {"b": 1}}, {"a": {"c": None}}, "a.b: removed (1); a.c: added (null)"),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1, "c": 3}, {}]}, "a.0.c: 2 → 3; a.1: added ({})"),
        ({"a": ["x"]}, {"a": ["x", "y"]}, 'a: ["x"] → ["x", "y"]'),
        ({"space_digest": "a"}, {"space_digest": "b"}, "the space"),
    ],
)
def test_only_what_changed_is_said(old, new, said):
    assert differences(old, new) == said


def test_a_field_among_many_is_named_with_both_its_bounds():
    one, other = (
        make_plan(SearchSpace(*MANY, integers("tokens", 1, most), where=[f"tokens < {most}"])).describe()
        for most in (64, 128)
    )

    assert differences(one, other) == 'space.tokens: 1 to 64 → 1 to 128; where: ["tokens < 64"] → ["tokens < 128"]'


def test_a_field_of_a_workload_is_named():
    one, other = (make_plan(workload=load).describe() for load in (LOAD, LOAD.with_load(concurrency=3)))

    assert "workload.concurrency: " in differences(one, other)
    assert "num_requests" not in differences(one, other)


def test_the_end_of_a_long_list_of_options_is_shown_where_it_changed():
    long, longer = ({"size": " | ".join(map(str, range(count)))} for count in (200, 201))

    before, after = differences(long, longer).removeprefix("size: ").split(" → ")

    assert before != after
    assert after.endswith("| 199 | 200")
    assert len(before) <= len(after) <= 80


@given(
    st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)
)
def test_whatever_differs_is_said_and_both_sides_read_differently(old, new):
    said = differences(old, new)

    assert (said == "the space") == (old == new)
    assert all(len(set(part.partition(": ")[2].split(" → "))) == 2 for part in said.split("; ") if " → " in part)
