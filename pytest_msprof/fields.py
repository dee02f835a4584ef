"""Parameters that can be tuned: what each may be, and where its value goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pytest_msprof.errors import InvalidSpace, UnknownName
from pytest_msprof.expressions import Expression
from pytest_msprof.following import FOLLOWING, Following
from pytest_msprof.numerics import may_change_answers
from pytest_msprof.results import Value
from pytest_msprof.scales import MOST_STEPS, Integers, Options, Reals, Scale, evenly, is_number, same, shown, whole

__all__ = [
    "DTYPES",
    "MEMORY",
    "OptimizerConfigField",
    "choice",
    "constant",
    "floats",
    "integers",
    "product",
    "quotient",
    "ratio",
    "share",
    "steps",
]

DTYPES = ("int", "float", "bool", "enum", "range", "ratio", "share", "factories", "times", "str")
"""The seed's words. `factories` is a quotient, `times` a product, `str` a text that never changes."""

MEMORY = ("more", "less", "either")
"""`either` says that it matters and nobody knows which way."""


class OptimizerConfigField(BaseModel):
    """One parameter, as the seed declares it; the functions of this module make them more briefly.

    A field is searched, constant, or follows from others; a ratio does both: its fraction is
    searched, its value follows. Raises `InvalidSpace` for a declaration that contradicts itself.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = "max_batch_size"
    config_position: str = "BackendConfig.ScheduleConfig.maxBatchSize"
    """`env` for a variable, a dotted path into the config file, empty where the engine knows the name."""
    min: float = 0.0
    """Lower bound, included."""
    max: float = 100.0
    """Upper bound, included."""
    dtype: str = "float"
    """One of `DTYPES`."""
    value: bool | int | float | str | list[Any] | dict[str, Any] | None = None
    """The current value; None leaves it to the engine."""
    dtype_param: Any = None
    """enum: the options; range: the step; ratio and share: the other field; factories and times: a table
    of `product`, `target_name` or `target_names`, and `dtype`."""
    constant: bool | int | float | str | list[Any] | dict[str, Any] | None = None
    """The value of a field that never changes; 0 and False are values like any other."""
    log: bool = False
    """Search the logarithm: from 8 to 16 is as far as from 64 to 128."""
    when: str = ""
    """Expression over other fields; where it is false, this field is absent."""
    memory: str = ""
    """What memory a larger value demands, or a later option: one of `MEMORY`, empty where it does not matter."""
    numerics: bool | None = None
    """Whether it may change what the model answers; None: where its name says so (`numerics`)."""
    unset: bool | int | float | str | list[Any] | dict[str, Any] | None = None
    """What the engine does where nobody gives a value; None: nobody said."""
    live: bool = False
    """Whether the engine that runs can be given another value, without a start."""

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidSpace(_first_problem(error, values)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.name:
            raise InvalidSpace("a field needs a name, but got ''")
        if self.memory not in ("", *MEMORY):
            raise UnknownName(f"memory of field {self.name!r}", self.memory, MEMORY)
        if self.dtype not in DTYPES:
            raise UnknownName(f"dtype of field {self.name!r}", self.dtype, DTYPES)
        if self.when:
            Expression(self.when)
        self._check_bounds()
        self._check_parameter()
        self._settle_constant()
        if self.dtype == "enum" and self.value is not None:
            self.spelled(self.value)
        return self

    def _check_bounds(self) -> None:
        if is_number(self.constant):
            self.min = self.max = float(self.constant)  # type: ignore[arg-type]
        if not self.min <= self.max:
            raise InvalidSpace(f"field {self.name!r} needs min ≤ max, but got {shown(self.min)} and {shown(self.max)}")
        if self.log and self.dtype not in ("int", "float"):
            raise InvalidSpace(f"field {self.name!r} is of dtype {self.dtype!r}; log is for 'int' and 'float'")
        if self.log and not self.min > 0:
            raise InvalidSpace(f"field {self.name!r} has log=True and needs min > 0, but got {shown(self.min)}")
        if self.dtype == "ratio" and self.min < 0:
            raise InvalidSpace(f"field {self.name!r} is a fraction and needs min ≥ 0, but got {shown(self.min)}")
        if self.dtype == "int" and math.isfinite(self.min):
            self.min = float(math.ceil(self.min))
        if self.dtype == "int" and math.isfinite(self.max):
            self.max = float(math.floor(self.max))
        if self.min > self.max:
            raise InvalidSpace(f"field {self.name!r} has no whole number between its bounds")

    def _check_parameter(self) -> None:
        found = f"but dtype_param is {self.dtype_param!r}"
        if self.dtype == "enum" and self.constant is None:
            _check_options(self.name, self.dtype_param)
        elif self.dtype == "range" and self.constant is None:
            if not (is_number(self.dtype_param) and self.dtype_param > 0):
                raise InvalidSpace(f"field {self.name!r} needs a step above 0, {found}")
            if not (self.max - self.min) / self.dtype_param < MOST_STEPS:
                raise InvalidSpace(f"field {self.name!r} needs finite bounds and at most {MOST_STEPS} steps, {found}")
        elif self.name in self.targets:
            raise InvalidSpace(f"field {self.name!r} cannot follow itself, {found}")

    def _settle_constant(self) -> None:
        """Make equal bounds a constant, and a constant the value."""
        if self.constant is None and self.dtype == "str":
            self.constant = self.value
        if self.constant is None and self.dtype not in ("enum", *FOLLOWING) and self.scale.count == 1:
            self.constant = self.scale.from_unit(0)
        if self.constant is not None and self.dtype in ("int", "range") and is_number(self.constant):
            self.constant = whole(self.constant)  # type: ignore[arg-type]
        if self.constant is not None:
            self.value = self.constant

    @property
    def is_constant(self) -> bool:
        """Whether there is only one value."""
        if self.constant is not None or self.dtype == "str":
            return True
        return self.dtype == "enum" and len(self.dtype_param) == 1

    @property
    def is_searched(self) -> bool:
        """Whether a search has something to choose."""
        if self.dtype == "ratio" and not self.is_constant:
            return self.min < self.max
        return not self.is_constant and not self.following

    @property
    def fixed(self) -> Value:
        """The value of a constant."""
        return self.dtype_param[0] if self.constant is None and self.dtype == "enum" else self.constant

    @property
    def scale(self) -> Scale:
        """What a search chooses from; of a ratio, its fractions.

        Raises `InvalidSpace` where there is nothing to choose, or the bounds are infinite.
        """
        if self.is_constant:
            return Options((self.fixed,))
        if self.dtype == "bool":
            return Options((False, True) if self.min < self.max else (self.max > 0,))
        if self.dtype == "enum":
            return Options(tuple(self.dtype_param))
        if self.following and self.dtype != "ratio":
            raise InvalidSpace(f"field {self.name!r} is {self._extent()}: there is nothing to choose")
        if self.dtype == "range":
            return Options(evenly(self.min, self.max, self.dtype_param))
        if self.dtype == "int" and math.isfinite(self.max - self.min):
            return Integers(int(self.min), int(self.max), log=self.log)
        return Reals(self.min, self.max, log=self.log)

    @property
    def options(self) -> tuple[Value, ...] | None:
        """The values one by one, where they are listed or stepped; None for a span."""
        if self.following:
            return None
        return scale.values if isinstance(scale := self.scale, Options) else None

    @property
    def values(self) -> Sequence[Value]:
        """Every value, in order; raises `InvalidSpace` for a span that cannot be counted."""
        scale = self.scale
        if isinstance(scale, Options):
            return scale.values
        if isinstance(scale, Integers):
            return range(scale.low, scale.high + 1)
        raise InvalidSpace(f"field {self.name!r} is {self._extent()}: its values cannot be listed")

    @property
    def is_ordered(self) -> bool:
        """Whether neighbours are alike: a span, steps, or options that are rising numbers."""
        if self.dtype != "enum" or self.is_constant:
            return self.dtype != "bool"
        values = self.dtype_param
        return all(map(is_number, values)) and all(one < other for one, other in pairwise(values))

    def from_unit(self, unit: float) -> Value:
        """Return the value at a point of [0, 1]: equal segments, both bounds within reach."""
        return self.scale.from_unit(min(max(unit, 0.0), 1.0))

    def to_unit(self, value: Value) -> float:
        """Return the point of [0, 1] that `from_unit` maps to *value*; raises `InvalidSpace` outside."""
        return self.scale.to_unit(self.spelled(value))

    def spelled(self, value: Value) -> Value:
        """Return *value* as this field spells it: 8 for 8.0; raises `InvalidSpace` outside."""
        if self.dtype == "bool" and any(same(value, number) for number in (0, 1)):
            value = bool(value)  # settings files write numbers
        try:
            return self.scale.spelled(value)
        except LookupError:
            raise InvalidSpace(f"field {self.name!r} is {self._extent()}, but got {value!r}") from None

    def contains(self, value: Value) -> bool:
        """Say whether *value* is one of this field's; of a ratio, whether it is one of its fractions."""
        try:
            self.spelled(value)
        except InvalidSpace:
            return False
        return True

    @property
    def following(self) -> Following | None:
        """How it follows from other fields, None for one that does not."""
        if self.constant is not None or self.dtype not in FOLLOWING:
            return None
        return Following.of(self.name, self.dtype, self.dtype_param)

    @property
    def targets(self) -> tuple[str, ...]:
        """The fields that this one follows."""
        return self.following.targets if self.following else ()

    @property
    def changes_numerics(self) -> bool:
        """Whether its values may differ in what the model answers: precision, quantization, cache type, drafts."""
        return may_change_answers(self.name) if self.numerics is None else self.numerics

    def marked(
        self, *, memory: str = "", numerics: bool | None = None, unset: Value = None, live: bool = False
    ) -> Self:
        """Return the same field, saying what a study could only find out by failing, or not at all.

        *memory*: a larger value, or a later option, demands `"more"` or `"less"` of it, or `"either"` where
        nobody can say; what demands at least as much as a configuration that ran out of memory is not tried.
        *numerics*: values may differ in what the model answers, so studies limit the metric `agreement`;
        without it, fields whose names say so count, such as `dtype` and `quantization`.
        *unset*: what the engine does where the field is left out, so that a study can tell what it does
        from what other fields do even if its default leaves all of them to the engine.
        *live*: the plugin's `reconfigure` gives another value to the engine that runs, which spares a start.
        """
        said = {"memory": memory, "numerics": numerics, "unset": unset, "live": live}
        return type(self)(**{**self.model_dump(exclude_unset=True), **said})

    def describe(self) -> str:
        """Say what it may be: `8 to 128, log`, `bfloat16 | float32`."""
        return self._extent() + (f", when {self.when}" if self.when else "")

    def _extent(self) -> str:
        span = f"{shown(self.min)} to {shown(self.max)}"
        if self.is_constant:
            return f"always {shown(self.fixed)}"
        if self.dtype == "ratio":
            return f"{span} of {self.targets[0]}"
        if self.following:
            return self.following.describe()
        if self.dtype in ("enum", "bool"):
            return " | ".join(map(shown, self.options or ()))
        step = f", step {shown(self.dtype_param)}" if self.dtype == "range" else ""
        return span + step + (", log" if self.log else "")


def choice(name: str, options: Sequence[Value], *, when: str = "", position: str = "") -> OptimizerConfigField:
    """Return a field that is one of *options*; an empty text leaves the engine's option out."""
    listed = list(options) if isinstance(options, Sequence) and not isinstance(options, str) else options
    return OptimizerConfigField(name=name, dtype="enum", dtype_param=listed, when=when, config_position=position)


def integers(
    name: str,
    low: int,
    high: int,
    log: bool = False,  # noqa: FBT001, FBT002
    *,
    when: str = "",
    position: str = "",
) -> OptimizerConfigField:
    """Return a field of whole numbers, both bounds included."""
    return OptimizerConfigField(name=name, dtype="int", min=low, max=high, log=log, when=when, config_position=position)


def floats(
    name: str,
    low: float,
    high: float,
    log: bool = False,  # noqa: FBT001, FBT002
    *,
    when: str = "",
    position: str = "",
) -> OptimizerConfigField:
    """Return a field of numbers, both bounds included."""
    return OptimizerConfigField(
        name=name, dtype="float", min=low, max=high, log=log, when=when, config_position=position
    )


def steps(
    name: str, low: float, high: float, step: float, *, when: str = "", position: str = ""
) -> OptimizerConfigField:
    """Return a field of *low*, *low* + *step*, … as far as *high*, never beyond."""
    return OptimizerConfigField(
        name=name, dtype="range", min=low, max=high, dtype_param=step, when=when, config_position=position
    )


def ratio(name: str, of: str, low: float, high: float, *, when: str = "", position: str = "") -> OptimizerConfigField:
    """Return a field that is a fraction of field *of*, between *low* and *high*, rounded down."""
    return OptimizerConfigField(
        name=name, dtype="ratio", min=low, max=high, dtype_param=of, when=when, config_position=position
    )


def share(name: str, of: str, *, when: str = "", position: str = "") -> OptimizerConfigField:
    """Return a field that gets what field *of* leaves of the sum of its own bounds."""
    return OptimizerConfigField(name=name, dtype="share", dtype_param=of, when=when, config_position=position)


def product(name: str, *of: str, factor: float = 1, when: str = "", position: str = "") -> OptimizerConfigField:
    """Return a field that is the product of the fields *of*, times *factor*."""
    followed = {"product": factor, "target_names": list(of), "dtype": _kind(factor)}
    return OptimizerConfigField(name=name, dtype="times", dtype_param=followed, when=when, config_position=position)


def quotient(name: str, of: float | str, *by: str, when: str = "", position: str = "") -> OptimizerConfigField:
    """Return a field that is *of*, a number or a field, divided by the fields *by*.

    A configuration in which a whole number cannot be divided is none.
    """
    followed = {"product": of, "target_names": list(by), "dtype": _kind(of)}
    return OptimizerConfigField(name=name, dtype="factories", dtype_param=followed, when=when, config_position=position)


def constant(name: str, value: Value, *, when: str = "", position: str = "") -> OptimizerConfigField:
    """Return a field that never changes."""
    if value is None:
        raise InvalidSpace(f"constant {name!r} needs a value; a field that is left out is left to the engine")
    return OptimizerConfigField(name=name, dtype=_dtype(value), constant=value, when=when, config_position=position)


def _check_options(name: str, options: object) -> None:
    if not isinstance(options, list | tuple) or not options:
        raise InvalidSpace(f"field {name!r} needs a list of options, but got {options!r}")
    for place, option in enumerate(options):
        if not same(option, option):
            raise InvalidSpace(f"field {name!r} has {option!r} among its options, which is not equal to itself")
        if any(same(option, earlier) for earlier in options[:place]):
            raise InvalidSpace(f"field {name!r} has {option!r} twice among its options {list(options)!r}")


def _kind(number: float | str) -> str:
    return "float" if isinstance(number, float) and not number.is_integer() else "int"


def _dtype(value: Value) -> str:
    kind = {bool: "bool", int: "int", float: "float"}
    return kind.get(type(value), "str")


def _first_problem(error: ValidationError, values: Mapping[str, object]) -> str:
    problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"][:1])) or "field"
    name = values.get("name", "")
    if problem["type"] == "extra_forbidden":
        return str(UnknownName(f"key of field {name!r}", key, OptimizerConfigField.model_fields))
    return f"field {name!r}, {key}: {problem['msg'].lower()}, but got {problem['input']!r}"
