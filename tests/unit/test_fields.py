"""Fields: every value in bounds, both bounds within reach, the way there and back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
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

UNITS = st.floats(0, 1)
SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=4)


def ordered(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.tuples(values, values).map(sorted).filter(lambda ends: ends[0] < ends[1]).map(tuple)


def spans(*, low: float, log: bool) -> st.SearchStrategy[OptimizerConfigField]:
    whole = ordered(st.integers(math.ceil(low), 2**31)).map(lambda ends: integers("x", *ends, log=log))
    real = ordered(st.floats(low, 1e12, allow_subnormal=False)).map(lambda ends: floats("x", *ends, log=log))
    return whole | real


@st.composite
def stepped(draw: st.DrawFn) -> OptimizerConfigField:
    low, step = draw(st.integers(-1000, 1000)), draw(st.integers(1, 50))
    scale = draw(st.sampled_from([1, 0.1, 0.25]))
    return steps("x", low * scale, (low + draw(st.integers(step, 2000))) * scale, step * scale)


LISTED = st.lists(SCALARS, min_size=2, max_size=9, unique_by=lambda value: (type(value) is bool, value)).map(
    lambda options: choice("x", options)
)
BOOLS = st.just(OptimizerConfigField(name="x", dtype="bool", max=1))
FIELDS = spans(low=-1e12, log=False) | spans(low=1e-6, log=True) | stepped() | LISTED | BOOLS


def first_and_last(entry: OptimizerConfigField) -> tuple[Any, Any]:
    if entry.options is not None:
        return entry.options[0], entry.options[-1]
    return entry.min, entry.max


@settings(deadline=None)
@given(FIELDS, UNITS)
def test_every_point_of_the_line_is_a_value_of_the_field(entry: OptimizerConfigField, unit: float) -> None:
    assert entry.contains(entry.from_unit(unit))


@settings(deadline=None)
@given(FIELDS)
def test_both_ends_of_the_line_are_the_bounds(entry: OptimizerConfigField) -> None:
    assert (entry.from_unit(0.0), entry.from_unit(1.0)) == first_and_last(entry)


@settings(deadline=None)
@given(FIELDS, st.floats(min_value=0))
def test_beyond_the_line_lies_the_nearest_bound(entry: OptimizerConfigField, far: float) -> None:
    assert (entry.from_unit(-far), entry.from_unit(1 + far)) == first_and_last(entry)


@settings(deadline=None)
@given(FIELDS, UNITS)
def test_a_value_leads_to_a_point_that_leads_back(entry: OptimizerConfigField, unit: float) -> None:
    value = entry.from_unit(unit)
    point = entry.to_unit(value)
    assert 0 <= point <= 1
    back = entry.from_unit(point)
    if entry.dtype == "float":
        # A float of a narrow span keeps the digits that its bounds leave.
        assert back == pytest.approx(value, rel=1e-9, abs=1e-12 * max(abs(entry.min), abs(entry.max)))
    else:
        assert back == value
        assert type(back) is type(value)


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 64), st.booleans())
def test_every_whole_number_between_the_bounds_is_reached(low: int, more: int, log: bool) -> None:  # noqa: FBT001
    entry = integers("x", low, low + more, log=log)
    assert [entry.from_unit(entry.to_unit(value)) for value in range(low, low + more + 1)] == list(
        range(low, low + more + 1)
    )


@pytest.mark.parametrize(
    "entry",
    [integers("x", 1, 4), choice("x", ["a", "b", "c", "d"]), steps("x", 0, 3, 1)],
    ids=["int", "enum", "range"],
)
def test_values_have_equal_parts_of_the_line(entry: OptimizerConfigField) -> None:
    drawn = [entry.from_unit((place + 0.5) / 400) for place in range(400)]
    assert [drawn.count(value) for value in sorted(set(drawn))] == [100] * 4


def test_a_logarithmic_field_doubles_in_equal_steps() -> None:
    entry = floats("x", 1, 256, log=True)
    assert [entry.from_unit(unit) for unit in (0.25, 0.5, 0.75)] == pytest.approx([4, 16, 64])


@settings(deadline=None)
@given(stepped())
def test_steps_never_go_beyond_the_upper_bound_and_miss_no_step_below_it(entry: OptimizerConfigField) -> None:
    assert entry.options is not None
    assert entry.options[-1] <= entry.max < entry.options[-1] + entry.dtype_param + 1e-9


def test_decimal_steps_are_what_they_look_like() -> None:
    assert steps("x", 0.1, 0.5, 0.1).options == (0.1, 0.2, 0.3, 0.4, 0.5)


def test_steps_that_do_not_fit_end_below_the_bound() -> None:
    assert steps("x", 0, 95, 10).options == (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)


# Values


@pytest.mark.parametrize("value", [7, 129, 8.5, "8", True, None, math.nan, math.inf])
def test_a_value_outside_is_refused_and_the_bounds_are_named(value: object) -> None:
    entry = integers("num_blocks", 8, 128, log=True)
    assert not entry.contains(value)
    with pytest.raises(InvalidSpace, match=r"'num_blocks' is 8 to 128, log, but got"):
        entry.to_unit(value)


def test_a_whole_float_is_an_int_of_an_int_field() -> None:
    assert repr(integers("x", 1, 9).spelled(8.0)) == "8"


def test_an_unknown_option_is_an_error_and_never_becomes_one() -> None:
    entry = choice("tp", [1, 2, 4, 8])
    with pytest.raises(InvalidSpace, match=r"'tp' is 1 \| 2 \| 4 \| 8, but got 0.0"):
        entry.to_unit(0.0)
    with pytest.raises(InvalidSpace, match="but got 3"):
        OptimizerConfigField(name="tp", dtype="enum", dtype_param=[1, 2, 4, 8], value=3)
    assert entry.options == (1, 2, 4, 8)


def test_true_is_not_one_and_false_is_not_zero() -> None:
    entry = choice("x", [0, False, "", None])
    assert [entry.from_unit(entry.to_unit(option)) for option in (0, False, "", None)] == [0, False, "", None]
    assert entry.from_unit(entry.to_unit(False)) is False
    assert not choice("x", [1, 2]).contains(True)


def test_options_may_be_lists_and_objects() -> None:
    options = [{"level": 3}, {"level": 0}, [1, 2], "none"]
    entry = choice("compilation_config", options)
    assert [entry.from_unit(entry.to_unit(option)) for option in options] == options


def test_a_bool_takes_the_numbers_that_settings_files_write() -> None:
    entry = OptimizerConfigField(name="x", dtype="bool", min=0, max=1)
    assert entry.options == (False, True)
    assert entry.spelled(1) is True
    assert entry.spelled(0.0) is False
    assert not entry.contains(2)


@pytest.mark.parametrize("value", [None, True, 0, 8, 0.5, "", "auto", [1, 2], {"level": 3}])
def test_any_json_value_can_be_carried_and_keeps_its_type(value: object) -> None:
    entry = OptimizerConfigField(name="x", value=value)
    assert entry.value == value
    assert type(entry.value) is type(value)
    assert OptimizerConfigField.model_validate_json(entry.model_dump_json()) == entry


# Constants


@pytest.mark.parametrize("value", [0, 0.0, False, "", 16, "auto", [1], {"a": 1}])
def test_a_constant_is_honoured_whatever_its_value(value: object) -> None:
    entry = constant("x", value)
    assert not entry.is_searched
    assert entry.from_unit(0.3) == value
    assert entry.value == value
    assert type(entry.fixed) is type(value)


def test_a_constant_of_the_seed_moves_the_bounds() -> None:
    entry = OptimizerConfigField(name="x", dtype="int", min=1, max=9, constant=0)
    assert (entry.min, entry.max, entry.fixed, entry.is_searched) == (0, 0, 0, False)


@pytest.mark.parametrize("dtype", ["int", "float"])
def test_equal_bounds_are_a_constant(dtype: str) -> None:
    entry = OptimizerConfigField(name="REQUESTRATE", dtype=dtype, min=0, max=0)
    assert (entry.constant, entry.value, entry.is_searched) == (0, 0, False)


def test_a_constant_wins_over_the_value_that_a_file_gives_beside_it() -> None:
    assert OptimizerConfigField(name="x", constant=5, value=0.0).value == 5


def test_nearly_equal_bounds_are_none() -> None:
    assert integers("x", 1_000_000, 1_000_001).is_searched


def test_one_option_leaves_nothing_to_choose() -> None:
    assert not choice("dtype", ["bfloat16"]).is_searched
    assert choice("dtype", ["bfloat16"]).describe() == "always bfloat16"


def test_a_field_of_the_seed_needs_no_argument() -> None:
    entry = OptimizerConfigField()
    assert (entry.name, entry.config_position) == ("max_batch_size", "BackendConfig.ScheduleConfig.maxBatchSize")
    assert (entry.min, entry.max, entry.dtype, entry.value) == (0.0, 100.0, "float", None)


def test_a_value_can_be_set_like_in_the_seed() -> None:
    entry = OptimizerConfigField(name="x")
    entry.value = 3
    assert entry.value == 3


# In words


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (integers("x", 8, 128, log=True), "8 to 128, log"),
        (integers("x", 500, 1_000_000), "500 to 1000000"),
        (floats("x", 0.05, 0.9, when="on"), "0.05 to 0.9, when on"),
        (choice("x", ["bfloat16", "float32"]), "bfloat16 | float32"),
        (choice("x", [False, "", None]), "False | '' | None"),
        (steps("x", 32, 256, 32), "32 to 256, step 32"),
        (ratio("x", "seqs", 0.1, 0.7), "0.1 to 0.7 of seqs"),
        (share("x", "prefill"), "what prefill leaves"),
        (product("x", "tp", "pp"), "tp * pp"),
        (product("x", "tp", factor=2), "2 * tp"),
        (quotient("x", 16, "tp"), "16 / tp"),
        (quotient("x", "devices", "tp", "pp"), "devices / tp / pp"),
        (constant("x", 0), "always 0"),
    ],
)
def test_a_field_says_what_it_may_be(entry: OptimizerConfigField, words: str) -> None:
    assert entry.describe() == words


def test_an_order_is_seen_where_there_is_one() -> None:
    assert [choice("x", options).is_ordered for options in ([1, 2, 4], [4, 1, 2], ["a", "b"])] == [True, False, False]


# Mistakes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min": 9, "max": 1}, r"needs min ≤ max, but got 9 and 1"),
        ({"min": math.nan}, "needs min ≤ max"),
        ({"min": 0, "max": 9, "log": True}, "needs min > 0, but got 0"),
        ({"dtype": "bool", "log": True}, "log is for 'int' and 'float'"),
        ({"dtype": "int", "min": 8.2, "max": 8.9}, "no whole number"),
        ({"dtype": "enum"}, "needs a list of options, but got None"),
        ({"dtype": "enum", "dtype_param": []}, r"needs a list of options, but got \[\]"),
        ({"dtype": "enum", "dtype_param": "abc"}, "needs a list of options"),
        ({"dtype": "enum", "dtype_param": [1, 2, 1.0]}, "has 1.0 twice"),
        ({"dtype": "enum", "dtype_param": [1, math.nan]}, "not equal to itself"),
        ({"dtype": "range"}, "needs a step above 0, but dtype_param is None"),
        ({"dtype": "range", "dtype_param": 0}, "needs a step above 0"),
        ({"dtype": "range", "dtype_param": 1e-9}, "at most 1000000 steps"),
        ({"dtype": "range", "dtype_param": 1, "max": math.inf}, "finite bounds"),
        ({"dtype": "ratio", "dtype_param": "y", "min": -1}, "needs min ≥ 0"),
        ({"dtype": "ratio"}, "must name the field it follows, but got None"),
        ({"dtype": "factories", "dtype_param": {"product": 16}}, "must name the field it follows"),
        ({"dtype": "times", "dtype_param": {"product": [], "target_name": "y"}}, "a number or a field as product"),
        ({"dtype": "share", "dtype_param": "x"}, "cannot follow itself"),
        ({"name": ""}, "needs a name"),
        ({"when": "a +"}, "cannot read the expression 'a \\+'"),
        ({"min": "low"}, "field 'x', min: .*but got 'low'"),
        ({"value": object()}, "field 'x', value"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpace, match=message):
        OptimizerConfigField(**{"name": "x", **values})


def test_an_unknown_type_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'float'"):
        OptimizerConfigField(name="x", dtype="flaot")


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidSpace, match="did you mean 'dtype_param'"):
        OptimizerConfigField(name="x", dtype_parm=3)


def test_a_text_is_no_list_of_options() -> None:
    with pytest.raises(InvalidSpace, match="needs a list of options, but got 'float32'"):
        choice("dtype", "float32")


def test_nothing_is_no_constant() -> None:
    with pytest.raises(InvalidSpace, match="left to the engine"):
        constant("x", None)


def test_a_field_that_follows_has_nothing_to_choose() -> None:
    entry = quotient("dp", 16, "tp")
    assert not entry.is_searched
    with pytest.raises(InvalidSpace, match="nothing to choose"):
        entry.from_unit(0.5)


def test_a_position_is_kept_and_empty_by_default() -> None:
    assert integers("OMP_NUM_THREADS", 1, 8, position="env").config_position == "env"
    assert integers("num_blocks", 1, 8).config_position == ""
