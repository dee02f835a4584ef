"""From options and marks to test items: engines, repeats and the slots of studies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_msprof.options import Options
    from pytest_msprof.tuning.plan import Slot, TunePlan

__all__ = [
    "case_of",
    "engine_of",
    "meant_for",
    "parametrize_engine",
    "parametrize_rounds",
    "plan_of",
    "put_in_order",
    "repeat_of",
    "slot_of",
]

FACTS = pytest.StashKey[dict[str, Any]]()
"""What an item found: run ids, comparisons, study; JSON, since it travels to the controller."""
REPEAT = "msprof_repeat"
STARTS_ENGINES = ("launch_service", "model_runner", "service")


def is_worker(config: pytest.Config) -> bool:
    """Say whether this is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def parametrize_engine(metafunc: pytest.Metafunc, options: Options) -> None:
    """Give each test one item an engine, and `workload` one a concurrency."""
    if "engine_name" in metafunc.fixturenames and options.engine:
        chosen = _chosen(metafunc, options.engine)
        metafunc.parametrize("engine_name", chosen, indirect=True, scope="session")
    if "workload" in metafunc.fixturenames and options.concurrency:
        metafunc.parametrize("workload", options.concurrency, indirect=True, ids=[f"c{n}" for n in options.concurrency])


def _chosen(metafunc: pytest.Metafunc, engines: Sequence[str]) -> list[Any]:
    """Return the engines a test is meant for; one skipped item that says so where it is for others."""
    wanted = meant_for(metafunc.definition)
    chosen = [engine for engine in engines if wanted is None or engine in wanted]
    if chosen or wanted is None:
        return chosen
    reason = f"for engine {' or '.join(wanted)}, but --msprof-engine says {', '.join(engines)}"
    return [pytest.param(wanted[0], marks=pytest.mark.skip(reason=reason))]


def meant_for(node: Any) -> tuple[str, ...] | None:
    """Return the engines that an `engines` mark names, None where a test is for all."""
    mark = node.get_closest_marker("engines")
    return tuple(mark.args) if mark else None


def parametrize_rounds(metafunc: pytest.Metafunc, options: Options) -> None:
    """Give each study its slots, and each other test that starts engines its repeats.

    Raises `ConfigurationError` for a mark that cannot be used.
    """
    from pytest_msprof.errors import ConfigurationError

    wanted = meant_for(metafunc.definition)
    if wanted is not None and options.engine and not set(wanted) & set(options.engine):
        return
    mark = metafunc.definition.get_closest_marker("tune")
    asks = "trial" in metafunc.fixturenames
    if mark is None and not asks:
        if options.repeat > 1 and set(STARTS_ENGINES) & set(metafunc.fixturenames):
            metafunc.fixturenames.append(REPEAT)
            numbers = range(options.repeat)
            metafunc.parametrize(REPEAT, numbers, indirect=True, ids=[f"repeat{number}" for number in numbers])
        return
    where = metafunc.definition.nodeid
    if mark is None or not asks:
        missing = "a tune mark" if mark is None else "the `trial` fixture"
        raise ConfigurationError(f"{where} needs {missing}: a study is a test with both")
    slots = plan_of(metafunc.definition, mark).slots()
    metafunc.parametrize("trial", slots, indirect=True, ids=[slot.id for slot in slots])


def plan_of(node: Any, mark: pytest.Mark | None = None) -> TunePlan:
    """Return the study that *node* is marked with; raises `ConfigurationError` where it cannot be used."""
    from pytest_msprof.errors import ConfigurationError
    from pytest_msprof.tuning.plan import TunePlan

    mark = mark or node.get_closest_marker("tune")
    try:
        return TunePlan.of(*mark.args, **mark.kwargs)
    except ConfigurationError as error:
        raise ConfigurationError(f"{node.nodeid}: {error}") from error


def slot_of(item: pytest.Item) -> Slot | None:
    """Return the slot of a study that *item* is, None for other tests."""
    slot: Slot | None = _parameters(item).get("trial") if item.get_closest_marker("tune") else None
    return slot


def engine_of(item: pytest.Item) -> str | None:
    """Return the engine that *item* was parametrized with, None where none was chosen."""
    return _parameters(item).get("engine_name")


def repeat_of(item: pytest.Item) -> int:
    """Return which repeat *item* is, from 0."""
    return int(_parameters(item).get(REPEAT, 0))


def case_of(item: pytest.Item) -> str:
    """Return the node id without the repeat or the slot: what stays the same between sessions."""
    slot = slot_of(item)
    part = slot.id if slot else f"repeat{repeat_of(item)}" if REPEAT in _parameters(item) else ""
    if not part:
        return item.nodeid
    return re.sub(rf"-?{re.escape(part)}\]$", "]", item.nodeid).removesuffix("[]")


def put_in_order(items: list[pytest.Item]) -> None:
    """Sort repeats round by round and the slots of a study as planned, in the places they have.

    A round of repeats shares one launch of the engine; a study confirms what it has tried.
    """
    groups: dict[Any, list[int]] = {}
    for place, item in enumerate(items):
        parameters = _parameters(item)
        if slot_of(item) is not None:
            groups.setdefault(("study", case_of(item)), []).append(place)
        elif REPEAT in parameters:
            groups.setdefault(("repeats", parameters.get("engine_name")), []).append(place)
    for (kind, _), places in groups.items():
        members = [items[place] for place in places]
        members.sort(key=_slot_order if kind == "study" else repeat_of)
        for place, item in zip(places, members, strict=True):
            items[place] = item


def _slot_order(item: pytest.Item) -> tuple[int, int, int]:
    from pytest_msprof.tuning.plan import ROLES

    slot = slot_of(item)
    if slot is None:
        return (0, 0, 0)
    return (("trial", "confirm", "result").index(slot.kind), slot.index, ROLES.index(slot.role))


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return dict(callspec.params) if callspec else {}
