"""What the confirming launches of a study found, session by session, kept as attributes of the study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_msprof.results import Value
from pytest_msprof.tuning.plan import ROLES, Role

if TYPE_CHECKING:
    import optuna

__all__ = ["Confirmations"]

PREFIX = "confirm"
ENDED = {"run", "failure"}
"""An entry with one of these tells what a launch came to, and `by` whom; another holds the lease of who makes it."""

ORDER = "order"
"""Key of an entry: the place of its session among those that confirmed, for a clock may be set back."""


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
        """Return the session that confirmed last, empty where none did; without an order, ids grow with time."""
        entries, orders = self._entries(f"{PREFIX}:"), self._orders()
        ended = (_session(name) for name, entry in entries.items() if ENDED & entry.keys())
        return max(ended, key=lambda session_id: (orders[session_id], session_id), default="")

    def told(self, session_id: str, role: Role, index: int) -> dict[str, Any]:
        """Return what one launch of a session came to, empty before it was told."""
        entry = self._entries(self._name(session_id, role, index)).get(self._name(session_id, role, index), {})
        return entry if ENDED & entry.keys() else {}

    def unfinished(
        self, wanted: Mapping[Role, int], launches: int, is_alive: Callable[[Mapping[str, Any] | None], bool]
    ) -> str:
        """Return the session that confirmed last where it ended in the middle, empty otherwise.

        It has to have confirmed the same trials, fewer than *launches* times each, and nobody who told
        of them may be alive: that session goes on by itself.
        """
        latest = self.latest()
        told = [(role, entry) for role, entries in self.of(latest).items() for entry in entries] if latest else []
        is_same = all(wanted.get(role) == entry["number"] for role, entry in told)
        is_left = not any(is_alive(entry.get("by")) for _, entry in told)
        return latest if is_same and is_left and len(told) < launches * len(wanted) else ""

    def leases(self) -> list[Any]:
        """Return who makes a confirming launch now, or did when it died."""
        return [entry.get("lease") for entry in self._entries(f"{PREFIX}:").values()]

    def remember(self, session_id: str, role: Role, index: int, outcome: Mapping[str, Value]) -> None:
        """Remember what became of one confirming launch, or the lease of who makes it."""
        orders = self._orders()
        order = orders.get(session_id) or 1 + max(orders.values(), default=0)
        self._study.set_user_attr(self._name(session_id, role, index), {**outcome, ORDER: order})

    def _orders(self) -> dict[str, int]:
        """Return the place of each session, 0 where an earlier version kept none."""
        found: dict[str, int] = {}
        for name, entry in self._entries(f"{PREFIX}:").items():
            found[_session(name)] = max(found.get(_session(name), 0), entry.get(ORDER, 0))
        return found

    @staticmethod
    def _name(session_id: str, role: Role, index: int) -> str:
        return f"{PREFIX}:{session_id}:{role}:{index:03}"

    def _entries(self, prefix: str) -> dict[str, dict[str, Any]]:
        return {name: entry for name, entry in self._study.user_attrs.items() if name.startswith(prefix)}


def _session(name: str) -> str:
    return name.split(":")[1]
