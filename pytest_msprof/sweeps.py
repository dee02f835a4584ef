"""Sweeping over loads: given rates or concurrencies, or those between one at a time and all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_msprof.errors import InvalidWorkload, LoadError, MetricMissing
from pytest_msprof.results import Measurement, Run
from pytest_msprof.workload import Workload

__all__ = ["Sweep"]


class Sweep:
    """Loads of the same requests, one after the other: send each of `workloads()` and `tell` what came of it.

    Without *request_rates* or *concurrencies* the first load sends one request at a time, the second
    *most* at once, and the others come at *points* − 2 rates between the throughputs of these two. A
    concurrency beside a rate in the workload is a cap, and stays one under *request_rates*.

    Raises `InvalidWorkload` for a sweep over both, and for a workload whose load is fixed by itself.
    """

    def __init__(
        self,
        workload: Workload,
        *,
        request_rates: Sequence[float] = (),
        concurrencies: Sequence[int] = (),
        points: int = 10,
        most: int = 256,
    ) -> None:
        if request_rates and concurrencies:
            raise InvalidWorkload("a sweep goes over request_rates or concurrencies, but got both")
        if points < 2:  # noqa: PLR2004 - the two ends
            raise InvalidWorkload(f"a sweep has 2 points at least, its ends, but got {points}")
        if workload.stages or workload.keeps_times or workload.arrival == "burst":
            raise InvalidWorkload("a sweep sets the load itself: the workload must not have stages, a burst or times")
        self._workload, self._points, self._most = workload, points, most
        cap = None if workload.request_rate is None else workload.concurrency
        self._given = [
            *(self._at(request_rate=rate, concurrency=cap) for rate in request_rates),
            *(self._at(concurrency=number) for number in concurrencies),
        ]
        self._throughputs: list[float] = []

    def __len__(self) -> int:
        """Return the number of loads."""
        return len(self._given) or self._points

    def workloads(self) -> Iterator[Workload]:
        """Yield the loads; where they depend on the ends of the sweep, these must have been told.

        Raises `LoadError` where nobody told what came of them.
        """
        if self._given:
            yield from self._given
            return
        yield self._at(concurrency=1)
        yield self._at(concurrency=self._most)
        slow, fast = self._ends()
        for place in range(1, self._points - 1):
            yield self._at(request_rate=slow + (fast - slow) * place / (self._points - 1))

    def tell(self, measured: Run | Measurement) -> None:
        """Report what was measured under the load that was yielded last.

        Raises `MetricMissing` where that has no throughput.
        """
        if "request_throughput" not in measured.metrics:
            raise MetricMissing(
                f"a sweep needs request_throughput, but found {', '.join(measured.metrics) or 'nothing'}"
            )
        self._throughputs.append(measured.metrics["request_throughput"])

    def _ends(self) -> tuple[float, float]:
        if len(self._throughputs) < 2:  # noqa: PLR2004 - the two ends
            raise LoadError("the rates of a sweep follow from its first two loads: tell() what came of them")
        return min(self._throughputs[:2]), max(self._throughputs[:2])

    def _at(self, *, request_rate: float | None = None, concurrency: int | None = None) -> Workload:
        load = {"request_rate": request_rate, "concurrency": concurrency}
        return type(self._workload)(**{**dict(self._workload), **load})
