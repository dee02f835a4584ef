"""What was measured: runs, trials and the performance index of the seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from pytest_msprof.distributions import Distribution, SteadyState
from pytest_msprof.errors import MetricMissing, UnknownName
from pytest_msprof.metric_table import METRICS, QUALITY, as_objective
from pytest_msprof.samples import Samples
from pytest_msprof.series import Series
from pytest_msprof.workload import Workload

__all__ = ["SCHEMA_VERSION", "Distribution", "Measurement", "PerformanceIndex", "Run", "SteadyState", "Value"]

SCHEMA_VERSION = 1
"""Version of `run.json`. 1: first release."""

Value = Any
"""A JSON value: None, bool, int, float, str, list or dict."""


class PerformanceIndex(BaseModel):
    """What a benchmark of the seed's interface found; units are SI."""

    generate_speed: float | None = None
    """Output throughput, token/s."""
    time_to_first_token: float | None = None
    """Mean time to first token, s."""
    time_per_output_token: float | None = None
    """Mean time per output token, s."""
    success_rate: float | None = None
    """Share of requests answered, 0 to 1 (the seed's text says percent; the code reads a share)."""
    throughput: float | None = None
    """Request throughput, request/s."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a load generator hands back: figures, and the requests behind them where it has them."""

    duration: float
    """Seconds from the first send to the last end."""
    completed: int
    failed: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Scalar metrics by name (`output_throughput`, …); absent where there is no sample."""
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    """Distributions by name (`ttft`, …)."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % intervals of percentiles (`ttft.p50`), where the requests support one."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed requests by class."""
    steady: SteadyState | None = None
    """The same between ramp-up and drain; None where no request lies wholly inside."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """The course of the run: quantities of the client (`running`) and of monitors (`server.running`)."""
    samples: Samples | None = None
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know, one sentence each."""
    complete: bool = True
    """False when the load was cut short."""
    client: Mapping[str, Value] = field(default_factory=dict)
    """What the load generator found out about itself: `cpu_share`, `loop_delay`, `backlog`, `workers`."""
    client_limited: str = ""
    """Why the load generator was the bottleneck, empty where it was not; such figures give no verdict."""
    began: float | None = None
    """The moment of `time.monotonic()` from which `due` and `start` of the samples count; None where nobody said."""
    server: Mapping[str, float] = field(default_factory=dict)
    """What the service counted meanwhile, warm-up included: requests, tokens, preemptions, prefix hits."""


class Run(BaseModel):
    """One workload against one launch of one configuration of one engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    id: str
    launch_id: str
    """The start of the engine that was measured: the unit of evidence."""
    session_id: str = ""
    case: str = ""
    """Node id of the test from rootdir, without the repeat; empty outside of pytest."""
    repeat: int = 0
    engine: str = ""
    load_generator: str = ""
    fields: dict[str, Value] = Field(default_factory=dict)
    """Server-side fields; what is absent was left to the engine."""
    load_fields: dict[str, Value] = Field(default_factory=dict)
    """Load-side fields beyond the workload."""
    workload: Workload
    workload_hash: str
    model: str = ""
    """Name of the model, as requests give it."""
    model_digest: str = ""
    device: str = ""
    """Kind of the device: cpu, or the product name of an accelerator."""
    environment: dict[str, Value] = Field(default_factory=dict)
    """Versions, hardware and the command line of the engine; no secrets."""
    started_at: datetime
    duration: float
    completed: int
    failed: int
    errors: dict[str, int] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    distributions: dict[str, Distribution] = Field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of percentiles (`ttft.p50`) inside this run; they say nothing about another launch."""
    steady: SteadyState | None = None
    """The figures between ramp-up and drain, None where no request lies wholly inside."""
    notes: tuple[str, ...] = ()
    complete: bool = True
    client: dict[str, Value] = Field(default_factory=dict)
    """What the load generator found out about itself: `cpu_share`, `loop_delay`, `backlog`, `workers`."""
    client_limited: str = ""
    """Why the load generator was the bottleneck, empty where it was not; such a run gives no verdict."""
    server: dict[str, float] = Field(default_factory=dict)
    """What the service counted meanwhile, warm-up included: requests, tokens, preemptions, prefix hits."""

    _samples: Samples | Callable[[], Samples | None] | None = PrivateAttr(None)
    _series: Mapping[str, Series] | Callable[[], Mapping[str, Series]] = PrivateAttr(default_factory=dict)
    _repeats: tuple[Run, ...] = PrivateAttr(())
    _planned: int = PrivateAttr(1)
    _odd: Mapping[str, float] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, measured: Measurement, **facts: Any) -> Self:
        """Return the run in which *measured* was found; *facts* say what was measured."""
        run = cls(
            duration=measured.duration,
            completed=measured.completed,
            failed=measured.failed,
            errors=dict(measured.errors),
            metrics=dict(measured.metrics),
            distributions=dict(measured.distributions),
            intervals=dict(measured.intervals),
            steady=measured.steady,
            notes=measured.notes,
            complete=measured.complete,
            client=dict(measured.client),
            client_limited=measured.client_limited,
            server=dict(measured.server),
            **facts,
        )
        return run.with_samples(measured.samples).with_series(measured.series)

    @property
    def samples(self) -> Samples | None:
        """The requests of this run, None where the load generator keeps none; read when first asked for."""
        if callable(self._samples):
            self._samples = self._samples()
        return self._samples

    @property
    def series(self) -> Mapping[str, Series]:
        """The course of the run, quantity by quantity; read when first asked for, empty where nobody kept it."""
        if callable(self._series):
            self._series = self._series()
        return self._series

    @property
    def repeats(self) -> tuple[Run, ...]:
        """The ones of the same case recorded before it in this session, and the run itself."""
        return self._repeats or (self,)

    @property
    def planned(self) -> int:
        """How many launches of this case the session plans."""
        return self._planned

    def with_samples(self, samples: Samples | Callable[[], Samples | None] | None) -> Self:
        """Return the same run with its requests beside it, or with what reads them."""
        return self._attach(_samples=samples)

    def with_series(self, series: Mapping[str, Series] | Callable[[], Mapping[str, Series]]) -> Self:
        """Return the same run with its course beside it, or with what reads it."""
        return self._attach(_series=series)

    def with_repeats(self, repeats: tuple[Run, ...], planned: int) -> Self:
        """Return the same run, knowing the ones *repeats* recorded before it and how many will come."""
        return self._attach(_planned=planned, _repeats=(*repeats, self))

    def finite(self) -> Self:
        """Return the run without the figures that are no numbers, NaN and infinities, which a note names.

        Whoever asks for one of them is told what it was.
        """
        odd: dict[str, float] = {}

        def kept(figures: Mapping[str, float], prefix: str = "") -> dict[str, float]:
            odd.update({f"{prefix}{name}": value for name, value in figures.items() if not math.isfinite(value)})
            return {name: value for name, value in figures.items() if math.isfinite(value)}

        def described(distributions: Mapping[str, Distribution], prefix: str = "") -> dict[str, Distribution]:
            return {name: Distribution(kept(found.root, f"{prefix}{name}.")) for name, found in distributions.items()}

        found: dict[str, Any] = {
            "metrics": kept(self.metrics),
            "distributions": described(self.distributions),
            "intervals": {name: ends for name, ends in self.intervals.items() if all(map(math.isfinite, ends))},
            "server": kept(self.server, "server."),
        }
        if self.steady is not None:
            steady = {
                "metrics": kept(self.steady.metrics, "steady."),
                "distributions": described(self.steady.distributions, "steady."),
            }
            found["steady"] = self.steady.model_copy(update=steady)
        if not odd and len(found["intervals"]) == len(self.intervals):
            return self
        named = ", ".join(f"{name} is {value}" for name, value in odd.items())
        found["notes"] = (*self.notes, *([f"left out, for it is no number: {named}"] if named else []))
        return self._attach(_odd=odd).model_copy(update=found)

    def _attach(self, **private: Any) -> Self:
        copy = self.model_copy()
        for name, value in private.items():
            setattr(copy, name, value)
        return copy

    @property
    def ttft(self) -> Distribution:
        """Time to first token, s."""
        return self.distribution("ttft")

    @property
    def tpot(self) -> Distribution:
        """Time per output token after the first event, s/token."""
        return self.distribution("tpot")

    @property
    def itl(self) -> Distribution:
        """Gaps between neighbouring events with content, s."""
        return self.distribution("itl")

    @property
    def latency(self) -> Distribution:
        """From the start of a request to its last event with content, s."""
        return self.distribution("latency")

    @property
    def output_throughput(self) -> float:
        """Output tokens of successful requests over the duration, token/s."""
        return self.value("output_throughput")

    @property
    def request_throughput(self) -> float:
        """Successful requests over the duration, request/s."""
        return self.value("request_throughput")

    @property
    def success_rate(self) -> float:
        """Successful requests over sent ones."""
        return self.value("success_rate")

    @property
    def performance_index(self) -> PerformanceIndex:
        """The seed's five figures, from whatever load generator; absent ones where this run has none."""
        means = {name: found.root.get("mean") for name, found in self.distributions.items()}
        return PerformanceIndex(
            generate_speed=self.metrics.get("output_throughput"),
            time_to_first_token=means.get("ttft"),
            time_per_output_token=means.get("tpot"),
            success_rate=self.metrics.get("success_rate"),
            throughput=self.metrics.get("request_throughput"),
        )

    def distribution(self, name: str) -> Distribution:
        """Return one distribution; raises `MetricMissing` where this run does not have it."""
        try:
            return self.distributions[name]
        except KeyError:
            raise self._missing(name) from None

    def value(self, metric: str) -> float:
        """Return one figure by name, `output_throughput` or `ttft.p50`.

        Raises `UnknownName` for a metric that does not exist, and `MetricMissing` for one that this
        run does not have.
        """
        if metric in self.metrics:
            return self.metrics[metric]
        if metric in self._odd:
            raise MetricMissing(f"{metric} is {self._odd[metric]}; load generator: {self.load_generator!r}")
        name, _, statistic = metric.partition(".")
        if name not in METRICS and name not in self.metrics and name not in self.distributions:
            raise UnknownName("metric", name, METRICS)
        if name == QUALITY:
            raise self._missing(metric)
        if statistic:
            return self.distribution(name)[statistic]
        if name in self.distributions:
            raise MetricMissing(f"{name!r} is a distribution: name a statistic, such as '{name}.p50'")
        raise self._missing(name)

    def as_objective(self, metric: str) -> str:
        """Return the metric that counts where *metric* is an objective or a limit.

        Where requests were due at a time, `ttft` and `latency` count from there, since requests
        that wait in the client must not flatter the engine.
        """
        from_due = as_objective(metric)
        return from_due if from_due.partition(".")[0] in self.distributions else metric

    def to_frame(self) -> Any:
        """Return the requests as a `pandas.DataFrame`, one a row, with `tpot`; needs the extra `reports`.

        Raises `MetricMissing` where the load generator kept none.
        """
        from importlib import import_module

        if self.samples is None:
            raise MetricMissing(f"run {self.id} has no requests; load generator: {self.load_generator!r}")
        columns = self.samples.columns()
        del columns["gaps"], columns["gap_offsets"]
        return import_module("pandas").DataFrame(columns | {"tpot": self.samples.tpot})

    def _missing(self, name: str) -> MetricMissing:
        has = ", ".join((*self.metrics, *self.distributions)) or "nothing"
        return MetricMissing(
            f"this run has no metric {name!r} (it has: {has}); load generator: {self.load_generator!r}"
        )
