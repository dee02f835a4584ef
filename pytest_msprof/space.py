"""A search space: the fields to tune, the configuration to start from, the conditions between fields."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from types import MappingProxyType

from pytest_msprof.errors import InvalidSpace, UnknownName
from pytest_msprof.expressions import Expression, Undefined
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.scales import is_number

__all__ = ["MOST_COUNTED", "SearchSpace"]

MOST_DRAWN = 5_000
"""Configurations that are drawn of a space which cannot be counted, before it counts as contradictory."""
MOST_COUNTED = 10_000
"""Combinations up to which every single one is looked at."""


class SearchSpace:
    """What may be tried: immutable, and checked when it is made.

    *default* is the configuration that is measured first; a field that it leaves out is left to
    the engine. *where* are conditions that every configuration must meet; the `when` of a field
    says in which configurations it exists. *left_out* are sentences about what was cut off before, with
    the reason, for the reports. Raises `InvalidSpace` and `UnknownName` for a space
    that contradicts itself.
    """

    def __init__(
        self,
        *fields: OptimizerConfigField,
        default: Mapping[str, Value] | None = None,
        where: Sequence[str] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        _check_fields(fields)
        self._fields = {entry.name: entry.model_copy(deep=True) for entry in fields}
        self._following = {entry.name: entry.following for entry in fields if entry.following}
        self._when = {entry.name: Expression(entry.when) for entry in fields if entry.when}
        self.where = tuple(Expression(text) for text in ((where,) if isinstance(where, str) else where))
        """The conditions that every configuration must meet."""
        self.left_out = tuple(left_out)
        """What was cut off before, a sentence each."""
        self._check_names()
        self._order = self._sorted()
        self._check_scales()
        self.default: Mapping[str, Value] = MappingProxyType(self._checked_default(default or {}))
        """The configuration to start from, completed: constants and what follows from its values."""
        self._check_not_empty()

    def __iter__(self) -> Iterator[OptimizerConfigField]:
        return iter(self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> OptimizerConfigField:
        if name not in self._fields:
            raise UnknownName("field", name, self._fields)
        return self._fields[name]

    def __repr__(self) -> str:
        return f"SearchSpace({', '.join(f'{name}: {text}' for name, text in self.describe().items())})"

    @cached_property
    def searched(self) -> tuple[OptimizerConfigField, ...]:
        """The fields that a search chooses, each behind those that decide whether it exists."""
        return tuple(self._fields[name] for name in self._order if self._fields[name].is_searched)

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Say whether the field exists in a configuration where those before it have *values*."""
        if name not in self._when and not self[name].targets:
            return True
        return self._exists(name, self.resolve({key: value for key, value in values.items() if key != name}))

    def resolve(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the configuration: constants and following fields added, inactive ones dropped.

        A ratio is given as its fraction, a float, and becomes the count, an int; given a count, it
        stays, so that resolving twice changes nothing. What cannot follow (`16 / tp` for 3) is left
        out and counts among the `violations`. Raises `UnknownName` for a name that is not of
        this space and `InvalidSpace` for a value that is not.
        """
        for name in values:
            self[name]
        found: dict[str, Value] = {}
        for name in self._order:
            if self._exists(name, found):
                value = self._value(name, values.get(name), found)
                if value is not None or (name in values and self[name].contains(None)):
                    found[name] = value
        return {name: found[name] for name in self._fields if name in found}

    def as_the_engine_takes(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the configuration *values* with what the engine does by itself where they say nothing.

        A field stays absent where nobody said what that is (`unset`), where it is none of the field's
        values, and where a condition would be broken.
        """
        found = self.resolve(values)
        for entry in self.searched:
            if entry.name in found or entry.following or entry.unset is None or not self._exists(entry.name, found):
                continue
            if entry.contains(entry.unset) and not self.violations({**found, entry.name: entry.unset}):
                found = self.resolve({**found, entry.name: entry.unset})
        return found

    def knowing(self, fields: Iterable[OptimizerConfigField]) -> SearchSpace:
        """Return the space with what the engine's *fields* of the same names say where its own do not.

        That is what the engine does where they are left out, and whether it takes another value while it runs.
        """
        said = {entry.name: entry for entry in fields}
        told = [
            entry.model_copy(
                update={
                    "unset": said[entry.name].unset if entry.unset is None else entry.unset,
                    "live": entry.live or said[entry.name].live,
                }
            )
            if entry.name in said
            else entry
            for entry in self
        ]
        where = [condition.text for condition in self.where]
        return SearchSpace(*told, default=self.default, where=where, left_out=self.left_out)

    def parameters(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return what a search would have chosen for the configuration *values*: a ratio is its fraction again."""
        resolved = self.resolve(values)
        return {
            entry.name: self._fraction(entry, resolved) if entry.following else resolved[entry.name]
            for entry in self.searched
            if entry.name in resolved
        }

    def violations(self, values: Mapping[str, Value]) -> list[str]:
        """Return the conditions that *values* break, each with the values that break it.

        A condition that reads an absent field is met.
        """
        resolved = self.resolve(values)
        return [*self._not_following(resolved), *self._unmet(resolved)]

    def with_values(self, values: Mapping[str, Value]) -> tuple[OptimizerConfigField, ...]:
        """Return the fields of the configuration *values*, carrying them."""
        resolved = self.resolve(values)
        return tuple(self[name].model_copy(update={"value": value}) for name, value in resolved.items())

    def configurations(self, levels: Mapping[str, Sequence[Value]] | None = None) -> Iterator[dict[str, Value]]:
        """Yield every configuration that meets the conditions, or those of a grid with these *levels* a field.

        Raises `InvalidSpace` where a span cannot be counted and has no levels.
        """
        if levels is None and self._product is None:
            raise InvalidSpace(f"the configurations cannot be listed: {self!r}")
        for chosen in self._choices(self.searched, {}, levels or {}):
            resolved = self.resolve(chosen)
            if not self.violations(resolved):
                yield resolved

    def size(self) -> int | None:
        """Return how many configurations there are, None where they cannot be counted.

        Beyond 10,000 combinations the number is an upper bound: conditions are not looked at.
        """
        return self._size

    def describe(self) -> dict[str, str]:
        """Return what each field may be, in words."""
        return {name: entry.describe() for name, entry in self._fields.items()}

    def digest(self) -> str:
        """Return the identity: fields, default and conditions, whatever their order; not what is known about fields."""
        return digest(
            {
                "fields": {
                    name: entry.model_dump(mode="json", exclude={"value", "memory", "unset", "live"})
                    for name, entry in self._fields.items()
                },
                "default": dict(self.default),
                "where": sorted(condition.text for condition in self.where),
            }
        )

    @cached_property
    def _product(self) -> int | None:
        """How many combinations there are, inactive fields and conditions aside."""
        counts = [entry.scale.count for entry in self.searched]
        return None if None in counts else math.prod(count for count in counts if count)

    @cached_property
    def _size(self) -> int | None:
        if self._product is None or self._product > MOST_COUNTED:
            return self._product
        return sum(1 for _ in self.configurations())

    def _choices(
        self, rest: Sequence[OptimizerConfigField], chosen: dict[str, Value], levels: Mapping[str, Sequence[Value]]
    ) -> Iterator[dict[str, Value]]:
        if not rest:
            yield chosen
            return
        entry = rest[0]
        if not self.is_active(entry.name, chosen):
            yield from self._choices(rest[1:], chosen, levels)
            return
        for value in levels.get(entry.name) or entry.values:
            yield from self._choices(rest[1:], {**chosen, entry.name: value}, levels)

    def _exists(self, name: str, found: Mapping[str, Value]) -> bool:
        condition = self._when.get(name)
        if not all(target in found for target in self[name].targets):
            return False
        if condition is None:
            return True
        try:
            return condition.names <= found.keys() and bool(condition.evaluate(found))
        except Undefined:
            return False

    def _value(self, name: str, given: Value, found: Mapping[str, Value]) -> Value:
        """Return the value in a configuration whose earlier fields are *found*, None where nobody gave one."""
        entry, following = self[name], self._following.get(name)
        if entry.is_constant:
            return entry.fixed if given is None else entry.spelled(given)
        if following is None:
            return entry.spelled(given) if given is not None else None
        if following.dtype == "ratio":
            return self._counted(entry, given, found)
        try:
            follows = following.value(found, self._ends(following.factors[0]))
        except InvalidSpace:
            return None
        if given is not None and given != follows:
            raise InvalidSpace(f"field {name!r} is {entry.describe()}, which makes {follows!r}, but got {given!r}")
        return follows

    def _counted(self, entry: OptimizerConfigField, given: Value, found: Mapping[str, Value]) -> int | None:
        """Return the count that a ratio stands for; a ratio that has one fraction needs none given."""
        following = self._following[entry.name]
        if given is None:
            return None if entry.is_searched else following.fraction(entry.min, found)
        if isinstance(given, float):
            return following.fraction(entry.spelled(given), found)
        low, high = following.fraction(entry.min, found), following.fraction(entry.max, found)
        if not is_number(given) or not low <= given <= high:
            raise InvalidSpace(f"field {entry.name!r} is {entry.describe()}, {low} to {high} here, but got {given!r}")
        return int(given)

    def _fraction(self, entry: OptimizerConfigField, resolved: Mapping[str, Value]) -> float:
        count, whole = resolved[entry.name], resolved[entry.targets[0]]
        return min(max((count + 0.5) / whole, entry.min), entry.max) if whole else entry.min

    def _ends(self, name: str) -> tuple[float, float]:
        """Return the bounds of a field that a share divides."""
        entry = self[name]
        if (options := entry.options) is not None:
            numbers = [option for option in options if is_number(option)]
            return min(numbers), max(numbers)
        return entry.min, entry.max

    def _not_following(self, resolved: Mapping[str, Value]) -> Iterator[str]:
        for name, following in self._following.items():
            if name not in resolved and following.dtype != "ratio" and self._exists(name, resolved):
                try:
                    following.value(resolved, self._ends(following.factors[0]))
                except InvalidSpace as error:
                    yield str(error)

    def _unmet(self, resolved: Mapping[str, Value]) -> Iterator[str]:
        for condition in self.where:
            if not condition.names <= resolved.keys():
                continue
            try:
                if not condition.evaluate(resolved):
                    yield f"{condition.with_values(resolved)} is not met"
            except Undefined as error:
                yield str(error)

    def _check_names(self) -> None:
        for condition in self.where:
            self._check_known(condition.names, f"field in where {condition.text!r}")
        for name, condition in self._when.items():
            self._check_known(condition.names, f"field in when {condition.text!r} of {name!r}")
        for name, following in self._following.items():
            self._check_known(following.targets, f"field that {name!r} follows")

    def _check_known(self, names: Iterable[str], kind: str) -> None:
        for name in sorted(names):
            if name not in self._fields:
                raise UnknownName(kind, name, self._fields)

    def _sorted(self) -> tuple[str, ...]:
        """Return the names so that each stands behind those that it reads."""
        order: list[str] = []
        waiting = list(self._fields)
        while waiting:
            ready = next((name for name in waiting if self._reads(name) <= set(order)), None)
            if ready is None:
                raise InvalidSpace(f"the fields {', '.join(waiting)} depend on each other in a circle")
            order.append(ready)
            waiting.remove(ready)
        return tuple(order)

    def _reads(self, name: str) -> set[str]:
        condition = self._when.get(name)
        return {*self[name].targets, *(condition.names if condition else ())}

    def _check_scales(self) -> None:
        if not self.searched:
            raise InvalidSpace(f"there is nothing to search: {self!r}")
        for entry in self.searched:
            if not math.isfinite(entry.max - entry.min):
                raise InvalidSpace(f"field {entry.name!r} needs finite bounds, but is {entry.describe()}")
        for name, following in self._following.items():
            for target in following.targets:
                if not _is_numeric(self[target]):
                    raise InvalidSpace(
                        f"field {name!r} follows {target!r}, which must be a number, but is {self[target].describe()}"
                    )

    def _checked_default(self, default: Mapping[str, Value]) -> dict[str, Value]:
        given = {name: value for name, value in default.items() if value is not None}
        self._check_known(given, "field in default")
        resolved = self.resolve(given)
        if absent := next((name for name in given if name not in resolved), None):
            needs = " and ".join(sorted(self._reads(absent)))
            what = f"{absent!r}, which is {self[absent].describe()}"
            raise InvalidSpace(f"the default gives {what}; it must give {needs} so that the field exists")
        if broken := self.violations(resolved):
            raise InvalidSpace(f"the default is no configuration of the space: {broken[0]}")
        return resolved

    def _check_not_empty(self) -> None:
        """Find a first configuration, or refuse the space with a broken condition that shows the reason."""
        middle = self.resolve({entry.name: entry.from_unit(0.5) for entry in self.searched})
        broken = self.violations(middle)
        if not broken or self._is_complete(self.default):
            return
        if self._product is not None and self._product <= MOST_COUNTED:
            if not any(islice(self.configurations(), 1)):
                raise InvalidSpace(f"no configuration meets the conditions; {broken[0]}")
        elif not any(self._drawn()):
            raise InvalidSpace(f"none of {MOST_DRAWN:,} configurations drawn by lot meets the conditions; {broken[0]}")

    def _is_complete(self, fields: Mapping[str, Value]) -> bool:
        """Whether *fields* leave nothing to the engine that is searched."""
        return all(entry.name in fields or not self.is_active(entry.name, fields) for entry in self.searched)

    def _drawn(self) -> Iterator[bool]:
        """Say of configurations drawn by lot whether they meet the conditions."""
        generator = random.Random(0)  # noqa: S311 - a search, not a secret
        for _ in range(MOST_DRAWN):
            chosen: dict[str, Value] = {}
            for entry in self.searched:
                if self.is_active(entry.name, chosen):
                    chosen[entry.name] = entry.from_unit(generator.random())
            yield not self.violations(chosen)


def _check_fields(fields: Sequence[OptimizerConfigField]) -> None:
    if not fields:
        raise InvalidSpace("a search space needs at least one field")
    seen: set[str] = set()
    for entry in fields:
        if not isinstance(entry, OptimizerConfigField):
            raise InvalidSpace(f"a search space is made of fields, but got {entry!r}")
        if entry.name in seen:
            raise InvalidSpace(f"field {entry.name!r} stands twice in the search space")
        seen.add(entry.name)


def _is_numeric(entry: OptimizerConfigField) -> bool:
    return entry.options is None or all(map(is_number, entry.options))
