"""Dividing a load between several processes, where one event loop is not enough."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import overload

import numpy as np

from msprof_plugins.load.share import Outcome
from pytest_msprof.requests import Growing, Plan, Request
from pytest_msprof.samples import Samples
from pytest_msprof.workload import Workload

__all__ = ["joined", "part_of", "workers_for"]

CHUNKS_A_LOOP = 40_000
"""Chunks a second that one event loop takes at half of a core."""
CHUNKS_A_STREAM = 100
"""Chunks a second that one stream of a fast engine brings."""
SAMPLED = 256
"""Requests whose lengths stand for all."""


def workers_for(workload: Workload, plan: Plan) -> int:
    """Say how many processes this load needs: one on most machines, never more than half of the processors.

    Talks are not divided: their turns depend on each other.
    """
    endless = isinstance(plan.requests, Growing) and plan.requests.is_endless
    if workload.sessions or workload.dataset or workload.trace or endless:
        return 1
    if workload.request_rate:
        lengths = [request.output_tokens for request in plan.requests[:SAMPLED]]
        chunks = workload.request_rate * float(np.mean(lengths))
    else:
        chunks = float((plan.concurrency or 1) * CHUNKS_A_STREAM)
    wanted = math.ceil(chunks / CHUNKS_A_LOOP)
    return max(1, min(wanted, (os.cpu_count() or 1) // 2, plan.concurrency or wanted, len(plan.requests)))


def part_of(plan: Plan, index: int, number: int) -> Plan:
    """Return the part of worker *index* of *number*: each *number*-th request, and its share of the slots."""
    return Plan(
        warm_up=(),
        requests=_EachNth(plan.requests, index, number),
        due=None if plan.due is None else plan.due[index::number],
        concurrency=_share(plan.concurrency, index, number) if plan.concurrency else None,
        stages=[stage._replace(concurrency=_share(stage.concurrency, index, number)) for stage in plan.stages],
    )


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Put the outcomes of all parts together, in the order of the whole load."""
    number = len(outcomes)
    numbers = np.concatenate([found.numbers * number + index for index, found in enumerate(outcomes)])
    order = np.argsort(numbers)
    failures = [found.first_failure for found in outcomes if found.first_failure]
    return Outcome(
        samples=Samples.concatenate([found.samples for found in outcomes]).take(order),
        numbers=numbers[order],
        began=outcomes[0].began,
        last_end=max(found.last_end for found in outcomes),
        errors=sum((found.errors for found in outcomes[1:]), outcomes[0].errors),
        first_failure=min(failures, default=None),
        findings=tuple(finding for found in outcomes for finding in found.findings),
        gave_up=any(found.gave_up for found in outcomes),
        stopped=any(found.stopped for found in outcomes),
    )


def _share(slots: int, index: int, number: int) -> int:
    """Divide *slots* as evenly as they go."""
    return slots // number + (index < slots % number)


class _EachNth(Sequence[Request]):
    """Each n-th request of a sequence, from the k-th on."""

    def __init__(self, requests: Sequence[Request], first: int, step: int) -> None:
        self._requests, self._first, self._step = requests, first, step

    @overload
    def __getitem__(self, place: int) -> Request: ...
    @overload
    def __getitem__(self, place: slice) -> list[Request]: ...
    def __getitem__(self, place: int | slice) -> Request | list[Request]:
        """Return a request of this part, or some."""
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        return self._requests[self._first + place * self._step]

    def __len__(self) -> int:
        return len(range(self._first, len(self._requests), self._step))
