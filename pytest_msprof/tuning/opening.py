"""Finding the study that a test means: the same question resumes, another one starts anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.ids import digest
from pytest_msprof.redaction import redact
from pytest_msprof.results import Value
from pytest_msprof.tuning.asking import PRIOR
from pytest_msprof.tuning.differences import differences
from pytest_msprof.tuning.plan import TunePlan
from pytest_msprof.tuning.prior import trials_of_study
from pytest_msprof.tuning.samplers import Offer
from pytest_msprof.tuning.storage import ID_LENGTH, SCHEMA_VERSION, Shelf, begun
from pytest_msprof.tuning.study import TuneStudy

__all__ = ["Found", "Identity", "find_study", "open_study"]

SLUG_LENGTH = 60


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
    slug, facts = _slug(explicit, plan, identity), identity.facts(plan)
    with shelf.turn(slug)():  # who comes second joins the study of who came first
        found = find_study(shelf, identity, plan, explicit=explicit, fresh=fresh)
        name = found.name or f"{slug}-{digest(facts)}-{session_id}"
        if name not in shelf.names():
            shelf.add(name, _identified(shelf, name, slug, facts))
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
            _describe(study, identity, shelf, found, _identified(shelf, name, slug, facts))
    return study, found.note


def _identified(shelf: Shelf, name: str, slug: str, facts: dict[str, Value]) -> dict[str, Value]:
    """Return what is kept of a new study's identity; it comes after every other of its *slug*."""
    others = (other for other in shelf.names() if _is_of(other, slug) and other != name)
    order = 1 + max(map(shelf.order, others), default=0)
    return {"schema_version": SCHEMA_VERSION, "order": order, "key": digest(facts), "facts": facts}


def _describe(
    study: TuneStudy, identity: Identity, shelf: Shelf, found: Found, identified: Mapping[str, Value]
) -> None:
    """Write into a new study what it asks, and what an earlier one measured."""
    described = {**identified, "engine": identity.engine}
    if found.old:
        described[PRIOR] = trials_of_study(shelf.storage(found.old), found.old)
    described["case"] = identity.case  # last: who finds it finds everything
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
        newest = _newest(shelf, same)
        shelf.facts(newest)  # refuses what a newer version wrote
        return Found(newest)
    known = {name: shelf.facts(name) for name in existing}
    old = {name: found for name, found in known.items() if found.get("case") == identity.case}
    if not old:
        return Found(note=_namesake(plan, known[_newest(shelf, known)], facts) if known else "")
    newest = _newest(shelf, old)
    changed = differences(old[newest], facts)
    if explicit:
        raise ConfigurationError(
            f"study {redact(explicit)!r} answers another question: {changed}; --msprof-fresh starts over"
        )
    return Found(note=f"new study: {changed}", old=newest)


def _namesake(plan: TunePlan, other: Mapping[str, Value], facts: Mapping[str, Value]) -> str:
    """Say what the study of another case asks that was given the same name, empty where both have one space."""
    if not plan.name or other.get("space_digest") == facts["space_digest"]:
        return ""
    changed = differences({**other, "case": facts["case"]}, facts)
    return f"the name {plan.name!r} is that of another study, too ({other.get('case')}), which stays apart: {changed}"


def _is_of(name: str, slug: str) -> bool:
    return re.fullmatch(rf"{re.escape(slug)}-[0-9a-f]{{16}}-[0-9a-f-]{{{ID_LENGTH}}}", name) is not None


def _newest(shelf: Shelf, names: Iterable[str]) -> str:
    return max(names, key=partial(begun, shelf))


def _slug(explicit: str | None, plan: TunePlan, identity: Identity) -> str:
    """Return what a person recognises the study by; a name of the command line stands for one study a case."""
    own = _words(plan.name or identity.case)
    return f"{_words(explicit)}-{own}" if explicit and "://" not in explicit else own


def _words(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[-SLUG_LENGTH:]
