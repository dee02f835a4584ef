"""Finding the study that a test means: the same question resumes, another one starts anew."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.ids import digest
from pytest_msprof.redaction import redact
from pytest_msprof.results import Value
from pytest_msprof.tuning.asking import PRIOR
from pytest_msprof.tuning.plan import TunePlan
from pytest_msprof.tuning.prior import trials_of_study
from pytest_msprof.tuning.samplers import Offer
from pytest_msprof.tuning.storage import SCHEMA_VERSION, Shelf
from pytest_msprof.tuning.study import TuneStudy

__all__ = ["Found", "Identity", "differences", "find_study", "open_study"]

SLUG_LENGTH = 60
ID_LENGTH = 36
SHOWN_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two sessions ask the same question."""

    case: str
    engine: str
    version: str
    model: str
    hardware: str

    def facts(self, plan: TunePlan) -> dict[str, Value]:
        """Return everything that the key depends on, flat, for showing what changed."""
        own = {"case": self.case, "engine": self.engine, "engine version": self.version, "model": self.model}
        return own | {"hardware": self.hardware, **plan.describe()}


class Found(NamedTuple):
    """What there is already for a study."""

    name: str = ""
    """The study to resume, empty for a new one."""
    note: str = ""
    """One line about what changed."""
    old: str = ""
    """The study of another key whose place the new one takes."""


def open_study(
    shelf: Shelf,
    identity: Identity,
    plan: TunePlan,
    *,
    session_id: str,
    explicit: str | None = None,
    fresh: bool = False,
    worker: int = 0,
    offer: Offer = lambda *_: None,
    is_load_side: Callable[[str], bool] = lambda _: False,
) -> tuple[TuneStudy, str]:
    """Return the study, and one line about what happened to an earlier one with another key.

    A change of the fields that *is_load_side* names restarts no service.

    Raises `ConfigurationError` where `find_study` does.
    """
    with shelf.turn(_slug(explicit, plan, identity))():  # who comes second joins the study of who came first
        found = find_study(shelf, identity, plan, explicit=explicit, fresh=fresh)
        facts = identity.facts(plan)
        name = found.name or f"{_slug(explicit, plan, identity)}-{digest(facts)}-{session_id}"
        if not found.name:
            shelf.add(name, {"schema_version": SCHEMA_VERSION, "key": digest(facts), "facts": facts})
        study = TuneStudy(
            shelf.storage(name),
            name,
            plan,
            session_id=session_id,
            worker=worker,
            offer=offer,
            turn=shelf.turn(name),
            is_alive=shelf.is_alive,
            is_load_side=is_load_side,
        )
        if "case" not in study.attributes:
            _describe(study, identity, shelf, found)
    return study, found.note


def _describe(study: TuneStudy, identity: Identity, shelf: Shelf, found: Found) -> None:
    """Write into a new study what it asks, and what an earlier one measured."""
    facts = identity.facts(study.plan)
    described: dict[str, Value] = {
        "facts": facts,
        "key": digest(facts),
        "engine": identity.engine,
        "case": identity.case,
    }
    if found.old:
        described[PRIOR] = trials_of_study(shelf.storage(found.old), found.old)
    for attribute, value in described.items():
        study.set_attribute(attribute, value)


def find_study(
    shelf: Shelf, identity: Identity, plan: TunePlan, *, explicit: str | None = None, fresh: bool = False
) -> Found:
    """Return the study to resume, or the one whose place a new one takes.

    *explicit* is a name or a storage URL from `--msprof-study`: where it holds a study that does
    not match, this raises `ConfigurationError` with the differences; and `SchemaTooNew` for one that
    a newer version wrote.
    """
    facts = identity.facts(plan)
    slug = _slug(explicit, plan, identity)
    existing = [name for name in shelf.names() if _is_of(name, slug)]
    same = [name for name in existing if f"-{digest(facts)}-" in name]
    if fresh:
        return Found()
    if same:
        shelf.facts(_newest(same))  # refuses what a newer version wrote
        return Found(_newest(same))
    old = {name: found for name in existing if (found := shelf.facts(name)).get("case") == identity.case}
    if not old:
        return Found()
    changed = differences(old[_newest(old)], facts)
    if explicit:
        raise ConfigurationError(
            f"study {redact(explicit)!r} answers another question: {changed}; --msprof-fresh starts over"
        )
    return Found(note=f"new study: {changed}", old=_newest(old))


def differences(old: Mapping[str, Value], new: Mapping[str, Value]) -> str:
    """Say in one line what changed between two identities."""
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name) and not name.endswith("_digest")]
    return "; ".join(f"{name}: {_short(old.get(name))} → {_short(new.get(name))}" for name in names) or "the space"


def _is_of(name: str, slug: str) -> bool:
    return re.fullmatch(rf"{re.escape(slug)}-[0-9a-f]{{16}}-[0-9a-f-]{{{ID_LENGTH}}}", name) is not None


def _newest(names: Iterable[str]) -> str:
    """Return the one whose session began last: the id of a session grows with time."""
    return max(names, key=lambda name: name[-ID_LENGTH:])


def _slug(explicit: str | None, plan: TunePlan, identity: Identity) -> str:
    """Return what a person recognises the study by; a name of the command line stands for one study a case."""
    own = _words(plan.name or identity.case)
    return f"{_words(explicit)}-{own}" if explicit and "://" not in explicit else own


def _words(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[-SLUG_LENGTH:]


def _short(value: Value) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"
