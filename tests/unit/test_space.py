"""Search spaces: what exists when, what follows from what, and which contradictions are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_msprof.errors import InvalidSpace, UnknownName
from pytest_msprof.fields import (
    OptimizerConfigField,
    choice,
    constant,
    floats,
    integers,
    product,
    quotient,
    ratio,
    share,
    steps,
)
from pytest_msprof.space import SearchSpace

BATCHING = SearchSpace(
    integers("num_blocks", 8, 128, log=True, when="continuous_batching"),
    integers("batch_tokens", 16, 1024, log=True, when="continuous_batching and num_blocks > 10"),
    choice("continuous_batching", [False, True]),
    choice("dtype", ["bfloat16", "float32"]),
    default={"continuous_batching": False},
    where=["num_blocks * 256 >= batch_tokens"],
)
PARALLEL = SearchSpace(
    choice("tp", [1, 2, 4, 8]),
    choice("pp", [1, 2]),
    quotient("dp", 8, "tp", "pp"),
    product("world", "tp", "pp", "dp"),
    integers("seqs", 10, 1000),
    ratio("prefill", "seqs", 0.1, 0.7),
    share("rest", "seqs"),
    steps("window", 0, 95, 10, when="dp > 1"),
    constant("port", 8000),
    where=["world == 8", "prefill <= seqs"],
)
SPACES = st.sampled_from([BATCHING, PARALLEL])


def proposed(space: SearchSpace, units: list[float]) -> dict[str, Any]:
    """Choose as a search does: field by field, the active ones only."""
    values: dict[str, Any] = {}
    for entry, unit in zip(space.searched, units, strict=False):
        if space.is_active(entry.name, values):
            values[entry.name] = entry.from_unit(unit)
    return values


UNITS = st.lists(st.floats(0, 1), min_size=8, max_size=8)


@settings(deadline=None)
@given(SPACES, UNITS)
def test_every_proposal_is_in_bounds_or_says_which_condition_it_breaks(space: SearchSpace, units: list[float]) -> None:
    resolved = space.resolve(proposed(space, units))
    for entry in space.searched:
        if entry.name in resolved and not entry.targets:
            assert entry.contains(resolved[entry.name])
    assert space.violations(resolved) or space is BATCHING or resolved["world"] == 8


@settings(deadline=None)
@given(SPACES, UNITS)
def test_resolving_twice_changes_nothing(space: SearchSpace, units: list[float]) -> None:
    resolved = space.resolve(proposed(space, units))
    assert space.resolve(resolved) == resolved
    assert space.resolve(json.loads(json.dumps(resolved))) == resolved


@settings(deadline=None)
@given(SPACES, UNITS)
def test_a_configuration_leads_back_to_what_was_chosen(space: SearchSpace, units: list[float]) -> None:
    resolved = space.resolve(proposed(space, units))
    chosen = space.parameters(resolved)
    assert all(space[name].contains(value) for name, value in chosen.items())
    assert space.resolve(chosen) == resolved


@settings(deadline=None)
@given(UNITS)
def test_what_follows_follows(units: list[float]) -> None:
    found = PARALLEL.resolve(proposed(PARALLEL, units))
    assume("dp" in found)
    assert found["dp"] * found["tp"] * found["pp"] == found["world"] == 8
    assert found["rest"] == 1010 - found["seqs"]
    assert found["seqs"] * 0.1 - 1 < found["prefill"] <= found["seqs"] * 0.7 + 1e-6
    assert ("window" in found) == (found["dp"] > 1)
    assert found["port"] == 8000


# When


def test_an_inactive_field_is_dropped() -> None:
    values = {"continuous_batching": False, "num_blocks": 64, "batch_tokens": 16, "dtype": "float32"}
    assert BATCHING.resolve(values) == {"continuous_batching": False, "dtype": "float32"}


def test_what_hangs_on_an_inactive_field_is_inactive() -> None:
    assert not BATCHING.is_active("batch_tokens", {"continuous_batching": False, "num_blocks": 64})
    assert not BATCHING.is_active("batch_tokens", {"continuous_batching": True, "num_blocks": 8})
    assert BATCHING.is_active("batch_tokens", {"continuous_batching": True, "num_blocks": 64})


def test_a_field_that_decides_is_chosen_before_those_it_decides_about() -> None:
    names = [entry.name for entry in BATCHING.searched]
    assert names.index("continuous_batching") < names.index("num_blocks") < names.index("batch_tokens")


def test_iterating_keeps_the_order_of_the_author() -> None:
    assert [entry.name for entry in BATCHING] == ["num_blocks", "batch_tokens", "continuous_batching", "dtype"]
    assert (len(BATCHING), "dtype" in BATCHING, "nothing" in BATCHING) == (4, True, False)


# Where


def test_a_broken_condition_is_quoted_with_the_values() -> None:
    values = {"continuous_batching": True, "num_blocks": 11, "batch_tokens": 1024}
    space = SearchSpace(*BATCHING, where=["num_blocks * 64 >= batch_tokens"])
    assert space.violations(values) == [
        "'num_blocks * 64 >= batch_tokens' with batch_tokens=1024, num_blocks=11 is not met"
    ]
    assert BATCHING.violations(values) == []


def test_a_condition_about_an_absent_field_is_met() -> None:
    assert BATCHING.violations({"continuous_batching": False}) == []


def test_a_quotient_that_is_not_whole_is_no_configuration() -> None:
    assert PARALLEL.violations({"tp": 8, "pp": 2}) == ["dp = 8 / tp / pp is no whole number with tp=8, pp=2"]
    assert "dp" not in PARALLEL.resolve({"tp": 8, "pp": 2})


def test_a_division_by_zero_is_no_configuration() -> None:
    space = SearchSpace(integers("n", 0, 4), quotient("each", 8, "n"), where=["8 / n > 2"])
    assert space.violations({"n": 0}) == [
        "each = 8 / n divides by 0 with n=0",
        "'8 / n > 2' with n=0 has no value: division by zero",
    ]


# Ratio, share and the seed's spellings


def test_a_ratio_is_a_fraction_while_it_is_searched_and_a_count_afterwards() -> None:
    assert PARALLEL.resolve({"seqs": 100, "prefill": 0.29})["prefill"] == 29
    assert PARALLEL.resolve({"seqs": 100, "prefill": 29})["prefill"] == 29
    with pytest.raises(InvalidSpace, match=r"'prefill' is 0.1 to 0.7 of seqs, 10 to 70 here, but got 71"):
        PARALLEL.resolve({"seqs": 100, "prefill": 71})


def test_a_share_of_options_gets_what_they_leave() -> None:
    space = SearchSpace(choice("prefill_rate", [1, 2, 3]), share("decode_rate", "prefill_rate"))
    assert [space.resolve({"prefill_rate": rate})["decode_rate"] for rate in (1, 2, 3)] == [3, 2, 1]


def test_the_seeds_spelling_of_a_quotient_and_a_product() -> None:
    table = {"target_name": "tp", "product": 16, "dtype": "int"}
    space = SearchSpace(
        OptimizerConfigField(name="tp", dtype="enum", dtype_param=[1, 2, 4], min=0, max=1),
        OptimizerConfigField(name="dp", dtype="factories", dtype_param=table, min=0, max=0),
        OptimizerConfigField(name="all", dtype="times", dtype_param=table, min=0, max=0),
    )
    assert space.resolve({"tp": 4}) == {"tp": 4, "dp": 4, "all": 64}


def test_a_quotient_of_a_field() -> None:
    space = SearchSpace(choice("devices", [8, 16]), choice("tp", [2, 4]), quotient("dp", "devices", "tp"))
    assert space.resolve({"devices": 16, "tp": 4})["dp"] == 4


def test_a_value_that_contradicts_what_follows_is_refused() -> None:
    with pytest.raises(InvalidSpace, match=r"'dp' is 8 / tp / pp, which makes 4, but got 2"):
        PARALLEL.resolve({"tp": 2, "pp": 1, "dp": 2})


# Default


def test_the_default_is_what_was_given_and_what_follows_from_it() -> None:
    assert BATCHING.default == {"continuous_batching": False}
    assert SearchSpace(*PARALLEL, default={"tp": 4, "pp": 1}).default == {
        "tp": 4, "pp": 1, "dp": 2, "world": 8, "port": 8000,
    }  # fmt: skip


def test_a_field_without_a_default_is_left_to_the_engine() -> None:
    assert SearchSpace(integers("n", 1, 9), default={"n": None}).default == {}


def test_an_absent_option_may_be_none() -> None:
    space = SearchSpace(choice("x", [None, "auto"]))
    assert space.resolve({"x": None}) == {"x": None}


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ({"dtype": "float64"}, r"'dtype' is bfloat16 \| float32, but got 'float64'"),
        ({"continuous_batching": True, "num_blocks": 4}, "'num_blocks' is 8 to 128, log, but got 4"),
        ({"num_blocks": 64}, "it must give continuous_batching so that the field exists"),
        ({"continuous_batching": False, "num_blocks": 64}, "the default gives 'num_blocks'"),
    ],
)
def test_a_default_outside_the_space_is_refused(default: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpace, match=message):
        SearchSpace(*BATCHING, default=default)


def test_a_default_that_breaks_a_condition_is_refused() -> None:
    with pytest.raises(InvalidSpace, match="the default is no configuration of the space: 'a > b' with a=1, b=2"):
        SearchSpace(integers("a", 1, 9), integers("b", 1, 9), default={"a": 1, "b": 2}, where=["a > b"])


# Contradictions


def test_a_space_that_cannot_be_counted_is_searched_for_a_first_configuration() -> None:
    narrow = SearchSpace(floats("share", 0, 1), integers("n", 1, 10**6), where=["share * n < 2000", "n > 1000"])
    assert len(narrow) == 2
    with pytest.raises(
        InvalidSpace, match=r"none of 5,000 configurations drawn by lot meets .*'share > 1' with share="
    ):
        SearchSpace(floats("share", 0, 1), where=["share > 1"])


def test_an_unknown_name_is_refused_wherever_it_stands() -> None:
    n = integers("num_blocks", 1, 9)
    for space in (
        lambda: SearchSpace(n, where=["num_block > 3"]),
        lambda: SearchSpace(n, integers("x", 1, 2, when="num_block > 3")),
        lambda: SearchSpace(n, default={"num_block": 3}),
        lambda: SearchSpace(n, ratio("x", "num_block", 0, 1)),
        lambda: SearchSpace(n)["num_block"],
        lambda: SearchSpace(n).resolve({"num_block": 3}),
    ):
        with pytest.raises(UnknownName, match=r"'num_block'.*did you mean 'num_blocks'"):
            space()


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ([], [], "needs at least one field"),
        ([constant("a", 1)], [], "nothing to search"),
        ([integers("a", 1, 9), integers("a", 1, 9)], [], "'a' stands twice"),
        ([integers("a", 1, 9, when="b > 1"), integers("b", 1, 9, when="a > 1")], [], "a, b depend on each other"),
        ([integers("a", 1, 9, when="a > 1")], [], "depend on each other"),
        (
            [choice("a", ["x", "y"]), quotient("b", 8, "a")],
            [],
            r"'b' follows 'a', which must be a number, but is x \| y",
        ),
        ([OptimizerConfigField(name="a", max=float("inf"))], [], "'a' needs finite bounds"),
        ([OptimizerConfigField(name="a", dtype="int", max=float("inf"))], [], "'a' needs finite bounds"),
        (
            [integers("a", 1, 9), integers("b", 1, 9)],
            ["a > b", "b > a"],
            "no configuration meets the conditions; 'a > b'",
        ),
        ([integers("a", 1, 9)], ["a >"], "cannot read the expression"),
        ([choice("a", ["x", "y"])], ["a > 3"], "cannot evaluate"),
        (["a"], [], "is made of fields, but got 'a'"),
    ],
)
def test_a_space_that_contradicts_itself_is_refused(fields: list[Any], where: list[str], message: str) -> None:
    with pytest.raises(InvalidSpace, match=message):
        SearchSpace(*fields, where=where)


def test_a_space_does_not_change_with_the_field_it_was_made_of() -> None:
    entry = integers("a", 1, 9)
    space = SearchSpace(entry)
    entry.max = 2
    assert space["a"].contains(9)


# Counting and naming


def test_the_size_counts_what_can_be_tried() -> None:
    assert SearchSpace(choice("on", [False, True]), integers("n", 1, 5, when="on")).size() == 6
    assert SearchSpace(integers("a", 1, 4), integers("b", 1, 4), where=["a < b"]).size() == 6
    assert PARALLEL.size() is None
    assert SearchSpace(floats("x", 0, 1)).size() is None


def test_a_large_size_is_a_bound_and_costs_nothing() -> None:
    assert SearchSpace(integers("a", 1, 10**6), integers("b", 1, 10**6), where=["a < b"]).size() == 10**12


def test_all_configurations_can_be_listed_and_meet_the_conditions() -> None:
    space = SearchSpace(choice("tp", [1, 2, 3]), quotient("dp", 6, "tp"), choice("fast", [True, False], when="dp > 2"))
    assert list(space.configurations()) == [
        {"tp": 1, "dp": 6, "fast": True},
        {"tp": 1, "dp": 6, "fast": False},
        {"tp": 2, "dp": 3, "fast": True},
        {"tp": 2, "dp": 3, "fast": False},
        {"tp": 3, "dp": 2},
    ]
    with pytest.raises(InvalidSpace, match="cannot be listed"):
        next(PARALLEL.configurations())


def test_the_digest_depends_on_what_can_be_tried_and_on_nothing_else() -> None:
    a, b = integers("a", 1, 9), choice("b", ["x", "y"])
    same = {
        SearchSpace(a, b, where=["a > 1", "a < 9"]).digest(),
        SearchSpace(b, a.model_copy(update={"value": 3}), where=["a < 9", "a  >  1"]).digest(),
    }
    others = {
        SearchSpace(a, b).digest(),
        SearchSpace(a, b, default={"a": 3}).digest(),
        SearchSpace(a, choice("b", ["x", "z"])).digest(),
        SearchSpace(integers("a", 1, 9, log=True), b).digest(),
    }
    assert len(same) == 1
    assert len(same | others) == 5


def test_a_space_says_what_each_field_may_be() -> None:
    assert BATCHING.describe()["num_blocks"] == "8 to 128, log, when continuous_batching"


def test_fields_carry_the_values_of_a_configuration() -> None:
    carried = PARALLEL.with_values({"tp": 4, "pp": 1, "seqs": 100, "prefill": 0.5})
    assert {entry.name: entry.value for entry in carried} == {
        "tp": 4, "pp": 1, "dp": 2, "world": 8, "seqs": 100, "prefill": 50, "rest": 910, "port": 8000,
    }  # fmt: skip
    assert PARALLEL["tp"].value is None


def test_a_field_that_is_left_out_stands_where_the_engine_is_known_to_put_it():
    space = SearchSpace(
        integers("seqs", 1, 64).marked(unset=16),
        integers("tokens", 64, 2048).marked(unset=4096),
        choice("batching", [False, True]).marked(unset=True),
        integers("blocks", 8, 128, when="batching").marked(unset=32),
        choice("kernel", ["x", "y"]),
        choice("tp", [1, 2, 4]).marked(unset=1),
        where=["tp == 4 or seqs < 16"],
    )

    assert space.as_the_engine_takes({}) == {"seqs": 16, "batching": True, "blocks": 32}
    assert space.as_the_engine_takes({"batching": False, "tp": 4}) == {"seqs": 16, "batching": False, "tp": 4}
    assert space.as_the_engine_takes({"seqs": 8}) == {"seqs": 8, "batching": True, "blocks": 32, "tp": 1}


def test_what_an_engine_says_about_its_fields_is_known_to_a_space_that_does_not():
    space = SearchSpace(
        integers("seqs", 1, 64), integers("tokens", 1, 64).marked(unset=8), choice("kernel", ["x", "y"])
    )
    engine = (integers("seqs", 1, 8).marked(unset=4), integers("tokens", 1, 8).marked(unset=2), choice("tp", [1, 2]))

    told = space.knowing(engine)

    assert told.as_the_engine_takes({}) == {"seqs": 4, "tokens": 8}
    assert told["seqs"].max == 64
    assert told.digest() == space.digest()
