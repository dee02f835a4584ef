"""The loads that a trial sends to its live service: one, the largest within the limits, or a sweep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from pytest_msprof.results import Run
from pytest_msprof.tuning.bracket import Bracket
from pytest_msprof.workload import Workload

if TYPE_CHECKING:
    from pytest_msprof.tuning.plan import TunePlan

__all__ = ["Axis", "LoadSearch", "OneLoad", "Seen", "make_loads"]

MOST_CONCURRENCY = 4096
RATE_SPAN = 256.0
"""Factor by which a rate may leave the one that was asked for, up and down."""
ROUNDS = 3
"""Times that each place of a closed loop is filled at least: fewer say nothing about a crowd."""
DOUBLING = 2.0
THROUGHPUT = "throughput"
"""What the names of objectives have in common that grow with the load."""
SATURATED = 1.02
"""Growth of the throughput for twice the load below which a sweep has seen enough."""


class Axis(NamedTuple):
    """The quantity that makes a workload heavier: its concurrency, or its rate where it is an open loop."""

    workload: Workload
    name: str
    start: float
    least: float
    most: float

    @classmethod
    def of(cls, workload: Workload) -> Axis:
        """Return the axis along which *workload* lies."""
        if workload.request_rate is not None:
            rate = workload.request_rate
            return cls(workload, "request_rate", rate, rate / RATE_SPAN, rate * RATE_SPAN)
        return cls(workload, "concurrency", float(workload.concurrency or 1), 1.0, float(MOST_CONCURRENCY))

    def at(self, load: float) -> Workload:
        """Return the workload under *load*.

        A heavier load gets more requests: enough to fill a closed loop, and as many seconds of an
        open one, since a queue that grows without end is not seen in a moment.
        """
        wanted = self.workload.num_requests
        if self.name == "request_rate":
            wanted = wanted and max(wanted, round(wanted * load / self.start))
            return self.workload.with_load(request_rate=load).model_copy(update={"num_requests": wanted})
        wanted = wanted and max(wanted, ROUNDS * round(load))
        return self.workload.with_load(concurrency=round(load)).model_copy(update={"num_requests": wanted})


class Seen(NamedTuple):
    """What came of one load."""

    load: float
    run: Run
    metrics: dict[str, float]
    strain: float
    """The worst metric over its tightened limit, among those that a heavier load makes worse."""


class LoadSearch(ABC):
    """Loads of one trial, one after the other; each is told before the next is known."""

    def __init__(self, plan: TunePlan) -> None:
        self.plan = plan
        self.axis = Axis.of(plan.workload)
        self.seen: list[Seen] = []
        self.first: Run | None = None
        """The short run that came before, None where there was none."""
        self.behind = ""
        """Why the trial ends with it, empty where it does not."""

    @property
    def told(self) -> int:
        """How many loads were told."""
        return len(self.seen) + (self.first is not None)

    @property
    @abstractmethod
    def load(self) -> float | None:
        """Where the next load stands on the axis, None when enough was seen."""

    @property
    def workload(self) -> Workload | None:
        """The next load, None when enough was seen."""
        return None if self.load is None else self.axis.at(self.load)

    def tell(self, run: Run) -> None:
        """Report what came of the load; raises `MetricMissing` where *run* lacks a metric."""
        if self.load is None:
            raise ValueError("every load of this trial was told")
        metrics = self.plan.measure(run)
        self.seen.append(Seen(self.load, run, metrics, self.plan.strain(metrics)))
        self._go_on()

    @abstractmethod
    def _go_on(self) -> None:
        """Choose the next load, knowing what was seen last."""

    @property
    @abstractmethod
    def answer(self) -> Seen:
        """The load that stands for the trial."""

    @property
    def has_held(self) -> bool:
        """Whether a load met every limit."""
        return any(not self.plan.infeasible(seen.metrics) for seen in self.seen)


class OneLoad(LoadSearch):
    """The load that was asked for, or the one that was found and is confirmed."""

    def __init__(self, plan: TunePlan, asked: Workload) -> None:
        super().__init__(plan)
        self._asked = asked

    @property
    def load(self) -> float | None:
        """Where the one load stands, None once it was told."""
        return None if self.seen else Axis.of(self._asked).start

    @property
    def workload(self) -> Workload | None:
        """The one load, as it was asked for."""
        return None if self.seen else self._asked

    def _go_on(self) -> None:
        pass

    @property
    def answer(self) -> Seen:
        """The one load."""
        return self.seen[0]


class LargestLoad(LoadSearch):
    """Finds the largest load that meets the tightened limits, as far as it can bring more than *to_beat*."""

    def __init__(self, plan: TunePlan, start: float | None = None, to_beat: float | None = None) -> None:
        super().__init__(plan)
        self._bracket = Bracket(
            start or self.axis.start,
            least=self.axis.least,
            most=self.axis.most,
            whole=self.axis.name == "concurrency",
            to_beat=to_beat,
        )

    @property
    def load(self) -> float | None:
        """The load that the bracket asks for, None when it has closed."""
        return self._bracket.load

    def _go_on(self) -> None:
        last = self.seen[-1]
        grows = THROUGHPUT in self.plan.objective  # with the load, as a latency, an energy or a goodput need not
        self._bracket.tell(last.strain, last.metrics[self.plan.objective] if grows else None)

    @property
    def answer(self) -> Seen:
        """The largest load that held, or the one that missed by least."""
        return next(seen for seen in reversed(self.seen) if seen.load == self._bracket.answer)


class Sweep(LoadSearch):
    """Doubles the load until a limit is missed or the throughput stands still, then halves the last step once."""

    def __init__(self, plan: TunePlan) -> None:
        super().__init__(plan)
        self._load: float | None = self.axis.start
        self._ends = False

    @property
    def load(self) -> float | None:
        """The next load, None when the end was seen."""
        return self._load

    def _go_on(self) -> None:
        last = self.seen[-1]
        if self._ends or last.load >= self.axis.most:
            self._load = None
        elif last.strain > 1:
            self._load, self._ends = self._before(last.load), True
        else:
            self._load = None if self._stands_still() else min(last.load * DOUBLING, self.axis.most)

    def _before(self, missed: float) -> float | None:
        """Return the load between the last that held and the one that missed, None where there is none."""
        if len(self.seen) == 1:
            return None
        held = self.seen[-2].load
        found = (held * missed) ** 0.5
        if self.axis.name == "concurrency":
            found = round(found)
        return float(found) if held < found < missed else None

    def _stands_still(self) -> bool:
        """Say whether twice the load brought nothing."""
        if len(self.seen) < 2:  # noqa: PLR2004 - a growth needs two
            return False
        before, now = (seen.run.metrics.get("request_throughput", 0.0) for seen in self.seen[-2:])
        return 0 < now < before * SATURATED

    @property
    def answer(self) -> Seen:
        """The best objective among the loads that held; the load that missed by least where none did."""
        held = [seen for seen in self.seen if seen.strain <= 1 and not self.plan.infeasible(seen.metrics)]
        if not held:
            return min(self.seen, key=lambda seen: seen.strain)
        sign = 1 if self.plan.maximize else -1
        return max(held, key=lambda seen: sign * seen.metrics[self.plan.objective])


def make_loads(plan: TunePlan, *, start: float | None = None, to_beat: float | None = None) -> LoadSearch:
    """Return the loads of a trial of *plan*.

    A bracket begins at *start*, the best load known, and gives up what cannot bring more than *to_beat*.
    """
    if plan.load == "max_under_slo":
        return LargestLoad(plan, start, to_beat)
    if plan.load == "sweep":
        return Sweep(plan)
    return OneLoad(plan, plan.workload)
