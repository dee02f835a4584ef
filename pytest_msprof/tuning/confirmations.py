"""What the confirming launches of a study found, session by session, kept as attributes of the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_msprof.results import Value
from pytest_msprof.tuning.plan import ROLES, Role

if TYPE_CHECKING:
    import optuna

__all__ = ["Confirmations"]

PREFIX = "confirm"
ENDED = {"run", "failure"}
"""An entry with one of these tells what a launch came to; another holds the lease of who makes it."""


class Confirmations:
    """The confirming launches in *study*: `confirm:<session>:<role>:<index>` each."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def of(self, session_id: str) -> dict[Role, list[dict[str, Any]]]:
        """Return what the launches of one session found, by role."""
        found: dict[Role, list[dict[str, Any]]] = {}
        for role in ROLES:
            entries = self._entries(f"{PREFIX}:{session_id}:{role}:")
            if ended := [entries[name] for name in sorted(entries) if ENDED & entries[name].keys()]:
                found[role] = ended
        return found

    def have_begun(self, session_id: str) -> bool:
        """Say whether a confirming launch of this session was begun: what it confirms is settled."""
        return bool(self._entries(f"{PREFIX}:{session_id}:"))

    def latest(self) -> str:
        """Return the session that confirmed last, empty where none did: the id of a session grows with time."""
        entries = self._entries(f"{PREFIX}:")
        return max((name.split(":")[1] for name, entry in entries.items() if ENDED & entry.keys()), default="")

    def leases(self) -> list[Any]:
        """Return who makes a confirming launch now, or did when it died."""
        return [entry.get("lease") for entry in self._entries(f"{PREFIX}:").values()]

    def remember(self, session_id: str, role: Role, index: int, outcome: Mapping[str, Value]) -> None:
        """Remember what became of one confirming launch, or the lease of who makes it."""
        self._study.set_user_attr(f"{PREFIX}:{session_id}:{role}:{index:03}", dict(outcome))

    def _entries(self, prefix: str) -> dict[str, dict[str, Any]]:
        return {name: entry for name, entry in self._study.user_attrs.items() if name.startswith(prefix)}
