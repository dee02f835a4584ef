"""Statistics of one quantity over the requests of a run, or of the steady part of it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, RootModel

from pytest_msprof.errors import MetricMissing, SampleTooSmall
from pytest_msprof.metric_table import SAMPLE_NEEDED

__all__ = ["Distribution", "SteadyState"]


class Distribution(RootModel[dict[str, float]]):
    """Statistics of one quantity over the requests of a run: `n`, mean, std, min, max, p50 to p99.

    What the sample cannot support is absent, and asking for it raises `MetricMissing`.
    """

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, statistic: str) -> float:
        try:
            return self.root[statistic]
        except KeyError:
            pass
        needed = SAMPLE_NEEDED.get(statistic, 0)
        if self.root.get("n", needed) < needed:
            raise SampleTooSmall(f"{statistic} needs {needed} values, but got {self.root['n']:g}")
        known = ", ".join(self.root) or "nothing"
        raise MetricMissing(f"no statistic {statistic!r} (this distribution has: {known})")

    @property
    def n(self) -> int:
        """Values behind the statistics, 0 where there are none or nobody said."""
        return int(self.root.get("n", 0))

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return self["mean"]

    @property
    def std(self) -> float:
        """Sample standard deviation."""
        return self["std"]

    @property
    def min(self) -> float:
        """Smallest value."""
        return self["min"]

    @property
    def max(self) -> float:
        """Largest value."""
        return self["max"]

    @property
    def p50(self) -> float:
        """Median."""
        return self["p50"]

    @property
    def p90(self) -> float:
        """90th percentile."""
        return self["p90"]

    @property
    def p95(self) -> float:
        """95th percentile."""
        return self["p95"]

    @property
    def p99(self) -> float:
        """99th percentile."""
        return self["p99"]


class SteadyState(BaseModel):
    """The figures of a run between its ramp-up and its drain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float
    """Seconds from the start of the run: when the usual number of requests first ran."""
    end: float
    """When it last did."""
    running: int
    """The usual number in flight: the median over the time in which requests were sent."""
    requests: int
    """Successful ones that lie wholly inside; the distributions are theirs."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Rates inside the window: of tokens that arrived there and requests that ended there."""
    distributions: dict[str, Distribution] = Field(default_factory=dict)
