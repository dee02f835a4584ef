"""The noise between launches, from what this machine measured before: nobody has to name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from pytest_msprof.ids import digest
from pytest_msprof.known_runs import Condition, same_condition
from pytest_msprof.noise_floor import Floor, floor_of_runs
from pytest_msprof.results import Run
from pytest_msprof.store import RunStore
from pytest_msprof.verdicts import MIN_LAUNCHES

__all__ = ["KnownFloors"]

MACHINE = ("device", "processor", "cores", "slot")
"""Facts of the hardware by which a machine is known again."""


class KnownFloors:
    """The launches in *store* by configuration, load and machine; it is read once, when the first is asked for."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def find(self, golden: Sequence[Run], current: Sequence[Run], names: Sequence[str]) -> Floor | None:
        """Return the noise of the metrics *names* between `launches`."""
        return floor_of_runs(self.launches(golden, current), names)

    def launches(self, golden: Sequence[Run], current: Sequence[Run]) -> list[Run]:
        """Return runs of golden's configuration, else of the current one, on the machine of the current ones.

        Nothing where there are fewer than 4 launches. Those that are judged, and others of their
        session, never speak for their own noise; nor do loads on a service whose starts nobody sees.
        """
        sessions = {run.session_id for run in current if run.session_id}
        judged = {run.launch_id for run in current}
        machines = {_machine(run) for run in current}
        others = [
            run
            for run in self._runs
            if run.session_id not in sessions and run.launch_id not in judged and _machine(run) in machines
        ]
        for side in (golden, current):
            wanted = {_key(run) for run in side}
            found = [run for run in others if _key(run) in wanted]
            if len({run.launch_id for run in found}) >= MIN_LAUNCHES:
                return found
        return []

    @cached_property
    def _runs(self) -> tuple[Run, ...]:
        return tuple(
            run
            for run in self._store.runs(skip_damaged=True)
            if run.complete and not run.client_limited and run.launch_id != run.session_id
        )


def _key(run: Run) -> str:
    """Return what is equal for one configuration under one load, on whatever machine."""
    return same_condition(replace(Condition.of(run), hardware=""))


def _machine(run: Run) -> str:
    hardware = run.environment.get("hardware")
    return digest([hardware.get(name) for name in MACHINE] if isinstance(hardware, dict) else [run.device])
