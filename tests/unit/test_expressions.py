"""Conditions between fields: what they compute, and all that they refuse."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_msprof.errors import InvalidSpace, MsprofError, UnknownName
from pytest_msprof.expressions import Expression, Undefined

VALUES = {"a": 6, "b": 4, "x": 0.5, "on": True, "off": False, "kind": "bf16"}


@pytest.mark.parametrize(
    "text",
    [
        "a * 256 >= b",
        "a + b - 1 == 9",
        "a / b",
        "a // b * b + a % b == a",
        "2 ** b",
        "-a < +b",
        "1 < b < a <= 6",
        "a != b and not off",
        "off or on",
        "off or b",
        "on and kind",
        "kind in ['bf16', 'fp16']",
        "a not in (1, 2, 3)",
        "b in {2, 4, 8}",
        "min(a, b, 5) + max(a, b) + abs(-a)",
        "kind == 'bf16'",
        "x == 0.5 and kind != None",
        "(a\n  > b)",
    ],
)
def test_it_is_what_python_says(text: str) -> None:
    assert Expression(text).evaluate(VALUES) == eval(
        text, {"__builtins__": {}, "min": min, "max": max, "abs": abs}, VALUES
    )


def test_it_knows_the_fields_that_it_reads() -> None:
    assert Expression("max(tp, 1) * pp <= devices and kind in ['a']").names == {"tp", "pp", "devices", "kind"}


def test_a_part_that_does_not_matter_is_not_computed() -> None:
    assert Expression("b == 0 or a / b > 1").evaluate({"a": 1, "b": 0}) is True
    assert Expression("b != 0 and a / b > 1").evaluate({"a": 1, "b": 0}) is False


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "a.__class__",
        "kind[0]",
        "[n for n in kind]",
        "lambda: a",
        "f'{a}'",
        "(a := 3)",
        "min(*kind)",
        "max(a, key=abs)",
        "min()",
        "a if on else b",
        "a is b",
        "a @ b",
        "a << 60",
        "~a",
        "{'a': 1}",
        "...",
        "b'bytes'",
        "1j",
        "await a",
    ],
)
def test_everything_else_is_refused_and_what_is_possible_is_listed(text: str) -> None:
    with pytest.raises(InvalidSpace, match=r"is not possible.*possible: names, numbers|at column"):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "column"),
    [("a >", 4), ("a > 1 and b.c", 11), ("a = 1", 3), ("", 1), ("ä > 1 and print(b)", 11), ("a > (b", 5)],
)
def test_a_mistake_is_located(text: str, column: int) -> None:
    with pytest.raises(InvalidSpace, match=rf"at column {column}: "):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["(" * 300 + "a" + ")" * 300, "-" * 900 + "a", "not " * 200 + "a", "a + " * 2000 + "a", "a\0"]
)
def test_a_text_made_to_break_the_reader_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpace):
        Expression(text)


@pytest.mark.parametrize("text", ["9 ** 9 ** 9", "((9 ** 60) ** 60) ** 60", "a / (b - 4)", "a % 0", "(-8) ** 0.5"])
def test_what_has_no_value_is_told_apart(text: str) -> None:
    with pytest.raises(Undefined, match="has no value"):
        Expression(text).evaluate(VALUES)


@pytest.mark.parametrize("text", ["kind > 3", "kind * 1000000000", "a + kind", "-kind", "a in b", "max(a, kind)"])
def test_types_that_do_not_go_together_are_an_error_with_the_values(text: str) -> None:
    with pytest.raises(InvalidSpace, match=r"cannot evaluate .* with "):
        Expression(text).evaluate(VALUES)


def test_a_field_without_a_value_is_named() -> None:
    with pytest.raises(UnknownName, match=r"field in 'a > num_block' 'num_block'.*did you mean 'num_blocks'"):
        Expression("a > num_block").evaluate({"a": 1, "num_blocks": 2})


def test_it_quotes_itself_with_the_values_that_it_read() -> None:
    assert Expression("a  *  2 >= b").with_values({"a": 1, "b": 4, "c": 9}) == "'a * 2 >= b' with a=1, b=4"


@settings(deadline=None)
@given(st.text(st.sampled_from(string.ascii_letters + string.digits + "+-*/%<>=!()[]{},.:'\" _&|~^@\\\n"), max_size=40))
def test_no_text_does_more_than_be_read_or_refused(text: str) -> None:
    try:
        expression = Expression(text)
        expression.evaluate(dict.fromkeys(expression.names, 3))
    except MsprofError:
        pass


NUMBERS = st.integers(-9, 9)


@settings(deadline=None)
@given(
    st.recursive(
        st.sampled_from("abc") | NUMBERS.map(str),
        lambda part: st.tuples(part, st.sampled_from(["+", "-", "*", "<", "==", "and", "or"]), part).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        max_leaves=8,
    ),
    st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS, "c": NUMBERS}),
)
def test_any_sum_of_parts_is_what_python_says(text: str, values: dict[str, Any]) -> None:
    assert Expression(text).evaluate(values) == eval(text, {}, values)
