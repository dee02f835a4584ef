"""Conditions between fields, written as Python expressions and read without ever running Python."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_msprof.errors import InvalidSpace, UnknownName
from pytest_msprof.results import Value

__all__ = ["Expression", "Undefined"]

LONGEST = 1000
DEEPEST = 40
LARGEST_POWER = 64
MOST_BITS = 4096

BINARY: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}
COMPARISONS: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.In: ("in", lambda left, right: left in right),
    ast.NotIn: ("not in", lambda left, right: left not in right),
}
UNARY: Mapping[type[ast.AST], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min}
SYMBOLS = [symbol for symbol, _ in (*BINARY.values(), *COMPARISONS.values())]
POSSIBLE = f"names, numbers, strings, lists, {' '.join(SYMBOLS)} and or not, {' '.join(FUNCTIONS)}"


class Undefined(InvalidSpace):
    """An expression has no value at this point, as 1 / 0 has none."""


class Expression:
    """A condition such as `num_blocks * 256 >= batch_tokens`.

    It may compute, compare and combine, and nothing else: no attributes, no calls but `min`,
    `max` and `abs`. Raises `InvalidSpace` that names the column of what is not possible.
    """

    def __init__(self, text: str) -> None:
        self.text = " ".join(str(text).split())
        self._tree = self._parsed()
        self._check(self._tree, depth=0)
        self.names = frozenset(_names(self._tree))
        """The fields it reads."""

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, values: Mapping[str, Value]) -> Any:
        """Return the value where the fields have *values*.

        Raises `UnknownName` for a field that has no value, `Undefined` for a division by 0, and
        `InvalidSpace` where types do not go together.
        """
        if missing := sorted(self.names - values.keys()):
            raise UnknownName(f"field in {self.text!r}", missing[0], values)
        try:
            return self._value(self._tree, values)
        except ArithmeticError as error:
            raise Undefined(f"{self.with_values(values)} has no value: {error}") from None
        except (TypeError, ValueError) as error:
            raise InvalidSpace(f"cannot evaluate {self.with_values(values)}: {error}") from None

    def with_values(self, values: Mapping[str, Value]) -> str:
        """Return the text, quoted, and the values of the fields that it reads."""
        used = ", ".join(f"{name}={values[name]!r}" for name in sorted(self.names & values.keys()))
        return f"{self.text!r}" + (f" with {used}" if used else "")

    def _parsed(self) -> ast.expr:
        if len(self.text) > LONGEST:
            raise InvalidSpace(f"an expression has at most {LONGEST} characters, but got {len(self.text)}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise self._refused(error.offset or len(self.text) + 1, error.msg) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._refused(1, str(error) or "too deep") from None

    def _check(self, node: ast.expr, *, depth: int) -> None:
        if depth > DEEPEST:
            raise self._not_possible(node, f"more than {DEEPEST} levels of brackets")
        if not _is_possible(node):
            raise self._not_possible(node, repr(ast.unparse(node)))
        for part in _parts(node):
            self._check(part, depth=depth + 1)

    def _not_possible(self, node: ast.expr, found: str) -> InvalidSpace:
        before = self.text.encode()[: node.col_offset].decode(errors="replace")
        return self._refused(len(before) + 1, f"{found} is not possible (possible: {POSSIBLE})")

    def _refused(self, column: int, reason: str) -> InvalidSpace:
        return InvalidSpace(f"cannot read the expression {self.text!r} at column {column}: {reason}")

    def _value(self, node: ast.expr, values: Mapping[str, Value]) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return values[node.id]
            case ast.BoolOp():
                return self._combined(node, values)
            case ast.Compare():
                return self._compared(node, values)
        return _applied(node, [self._value(part, values) for part in _parts(node)])

    def _combined(self, node: ast.BoolOp, values: Mapping[str, Value]) -> Any:
        """Return the part that decides, as Python does, without looking at those behind it."""
        stops_at = isinstance(node.op, ast.Or)
        found: Any = None
        for part in node.values:
            found = self._value(part, values)
            if bool(found) is stops_at:
                break
        return found

    def _compared(self, node: ast.Compare, values: Mapping[str, Value]) -> bool:
        left = self._value(node.left, values)
        for op, part in zip(node.ops, node.comparators, strict=True):
            right = self._value(part, values)
            if not COMPARISONS[type(op)][1](left, right):
                return False
            left = right
        return True


def _is_possible(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return node.value is None or isinstance(node.value, bool | int | float | str)
        case ast.Call(func=ast.Name(id=name), args=[_, *_], keywords=[]):
            return name in FUNCTIONS
        case ast.BinOp():
            return type(node.op) in BINARY
        case ast.UnaryOp():
            return type(node.op) in UNARY
        case ast.Compare():
            return all(type(op) in COMPARISONS for op in node.ops)
    return isinstance(node, ast.Name | ast.BoolOp | ast.List | ast.Tuple | ast.Set)


def _parts(node: ast.expr) -> list[ast.expr]:
    """Return what *node* is made of; a name that is called is no part."""
    if isinstance(node, ast.Call):
        return node.args
    return [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]


def _applied(node: ast.expr, parts: list[Any]) -> Any:
    match node:
        case ast.BinOp():
            return _computed(node.op, *parts)
        case ast.UnaryOp():
            return UNARY[type(node.op)](*parts)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](*parts)
    return parts


def _computed(op: ast.operator, left: Any, right: Any) -> Any:
    """Compute with numbers only: a string times a million is no condition, nor is 9**9**9."""
    symbol, function = BINARY[type(op)]
    for part in (left, right):
        if not isinstance(part, int | float):
            raise TypeError(f"{symbol} needs numbers, but got {part!r}")
    if isinstance(op, ast.Pow) and abs(right) > LARGEST_POWER:
        raise OverflowError(f"the power {right} is beyond {LARGEST_POWER}")
    result = function(left, right)
    if isinstance(result, int) and result.bit_length() > MOST_BITS:
        raise OverflowError(f"it has more than {MOST_BITS} bits")
    if isinstance(result, complex):
        raise ArithmeticError("it is no real number")  # noqa: TRY004 - a matter of values, not of types
    return result


def _names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    for part in _parts(node):
        yield from _names(part)
