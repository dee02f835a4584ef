"""Finding the study that a test means: the same question resumes, another one starts anew."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_msprof.errors import ConfigurationError, SchemaTooNew, StoreError
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.tuning.plan import TunePlan
from pytest_msprof.tuning.storage import open_journal, open_url
from pytest_msprof.tuning.study import TuneStudy

__all__ = ["Identity", "differences", "open_study"]

SCHEMA_VERSION = 1
"""Version of a study's identity file. 1: first release."""
SLUG_LENGTH = 60
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


def open_study(
    folder: Path,
    identity: Identity,
    plan: TunePlan,
    *,
    session_id: str,
    explicit: str | None = None,
    fresh: bool = False,
    worker: int = 0,
) -> tuple[TuneStudy, str]:
    """Return the study, and one line about what happened to an earlier one with another key.

    *explicit* is a name or a storage URL from `--msprof-study`; with a name that exists and does
    not match, this raises `ConfigurationError` with the differences.
    """
    facts = identity.facts(plan)
    key = digest(facts)
    if explicit and "://" in explicit:
        name = f"{_slug(identity.case)}-{key}"
        study = TuneStudy(open_url(explicit), name, plan, session_id=session_id, worker=worker)
        return _described(study, identity, facts, key), ""
    slug = _slug(plan.name or explicit or identity.case)
    existing = [path for path in sorted(folder.glob(f"{slug}-*.json")) if _is_of(path, slug)]
    same = [path for path in existing if f"-{key}-" in path.name]
    others = [path for path in existing if path not in same]
    path = same[-1] if same and not fresh else folder / f"{slug}-{key}-{session_id}.json"
    note = ""
    if others and not same:
        changed = differences(_facts(others[-1]), facts)
        if explicit and not fresh:
            raise ConfigurationError(
                f"study {explicit!r} answers another question: {changed}; --msprof-fresh starts over"
            )
        note = f"new study: {changed}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, {"schema_version": SCHEMA_VERSION, "key": key, "facts": facts})
    storage = open_journal(path.with_suffix(".journal"))
    study = TuneStudy(storage, path.stem, plan, session_id=session_id, worker=worker)
    return _described(study, identity, facts, key), note


def differences(old: Mapping[str, Value], new: Mapping[str, Value]) -> str:
    """Say in one line what changed between two identities."""
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name) and not name.endswith("_digest")]
    return "; ".join(f"{name}: {_short(old.get(name))} → {_short(new.get(name))}" for name in names) or "the space"


def _described(study: TuneStudy, identity: Identity, facts: Mapping[str, Value], key: str) -> TuneStudy:
    if "case" not in study.attributes:
        study.set_attribute("facts", dict(facts))
        study.set_attribute("key", key)
        study.set_attribute("engine", identity.engine)
        study.set_attribute("case", identity.case)
    return study


def _facts(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version, facts = stored["schema_version"], stored["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"cannot read the study {path}: {error}") from error
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(f"{path} has schema version {version}, and this version reads up to {SCHEMA_VERSION}")
    return dict(facts)


def _write(path: Path, content: Mapping[str, Value]) -> None:
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    beside.replace(path)


def _is_of(path: Path, slug: str) -> bool:
    return re.fullmatch(rf"{re.escape(slug)}-[0-9a-f]{{16}}-[0-9a-f-]{{36}}", path.stem) is not None


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[-SLUG_LENGTH:]


def _short(value: Value) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"
