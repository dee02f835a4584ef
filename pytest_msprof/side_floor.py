"""Launches that lie beside the runs of a comparison and show how far launches of their configuration scatter."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_msprof.known_floors import KnownFloors
from pytest_msprof.sources.runs import of_run
from pytest_msprof.sources.source import Source
from pytest_msprof.store import RunStore
from pytest_msprof.verdicts import MIN_LAUNCHES

__all__ = ["launches_beside"]


def launches_beside(current: Sequence[Source], golden: Sequence[Source]) -> list[Source]:
    """Return earlier launches of golden's configuration from the folder of the current runs.

    Nothing where the launches compared are enough, are no runs of ours, or lie nowhere.
    """
    sides = [[source.run for source in side if source.run] for side in (current, golden)]
    folders = dict.fromkeys(source.path.resolve().parent for source in current)
    few = min(len({run.launch_id for run in runs}) for runs in sides) < MIN_LAUNCHES
    if not few or any(len(runs) != len(side) for runs, side in zip(sides, (current, golden), strict=True)):
        return []
    for folder in folders:
        found = KnownFloors(RunStore(folder)).launches(sides[1], sides[0])
        if found:
            return [of_run(run, folder / run.id) for run in found]
    return []
