"""Where a row of launches changed its level: an engine, a driver or a neighbour that moved while nobody compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_msprof.statistics import welch
from pytest_msprof.verdicts import ALPHA, MIN_LAUNCHES

__all__ = ["change_points"]


def change_points(launches: Sequence[float], *, family: int = 1) -> list[int]:
    """Return the launches with which a new level begins, in the order of *launches*, which are positive.

    The likeliest split, by Welch's *t* on logarithms, is a change point where its p-value holds
    after Bonferroni's correction over all splits and a *family* of metrics; each part is then asked
    again (binary segmentation: Scott and Knott, Biometrics 30, 1974). A level has at least 4 launches.
    """
    found: list[int] = []
    waiting = [(0, len(launches))]
    logs = np.log(np.asarray(launches, dtype=np.float64))
    while waiting:
        begin, end = waiting.pop()
        splits = range(begin + MIN_LAUNCHES, end - MIN_LAUNCHES + 1)
        chances = [(welch(logs[begin:split], logs[split:end]).p_value(), split) for split in splits]
        if chances and min(chances)[0] * len(splits) * family < ALPHA:
            _, split = min(chances)
            found.append(split)
            waiting += [(begin, split), (split, end)]
    return sorted(found)
