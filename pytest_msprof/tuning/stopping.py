"""When a study has seen enough, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_msprof.summary import TrialRecord

__all__ = ["failure_classes", "reason_to_stop"]

SMALL = 0.01
"""Expected improvement, relative to the best, that is not worth another trial."""
IN_A_ROW = 10
"""Suggestions in a row that must promise less than that."""
ALL_FAILED = 10
"""Trials after which a study gives up where none of them was measured."""


def reason_to_stop(records: Sequence[TrialRecord], gains: Sequence[float | None]) -> str:
    """Say why a study should end, empty where it should go on.

    *gains* are what the search expected of each trial, in the order they were proposed; None where
    it expected nothing in particular, as in the points that fill the space first.
    """
    if len(records) >= ALL_FAILED and all(record.state == "failed" for record in records):
        return f"the first {len(records)} trials all failed: {failure_classes(records)}"
    last = list(gains[-IN_A_ROW:])
    if len(last) == IN_A_ROW and all(gain is not None and gain < SMALL for gain in last):
        return f"the expected improvement stayed below {SMALL * 100:g} % for {IN_A_ROW} suggestions"
    return ""


def failure_classes(records: Sequence[TrialRecord]) -> str:
    """Count the failed trials by class: `2 × out of memory, 1 × timeout`."""
    counts = Counter(record.failure or record.state for record in records if record.state == "failed")
    return ", ".join(f"{count} × {name}" for name, count in counts.most_common())
