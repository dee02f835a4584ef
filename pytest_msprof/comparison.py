"""Comparing runs with golden ones: what changed, by how much, and whether that is sure enough to act on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from contextvars import ContextVar
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict

from pytest_msprof.comparability import obstacles, same_experiment
from pytest_msprof.display import change, percent, rate, seconds
from pytest_msprof.errors import ConfigurationError, Regression
from pytest_msprof.evidence import by_launch, shared_metrics, whole, why_missing
from pytest_msprof.metrics import METRICS, metric
from pytest_msprof.noise_floor import Floor
from pytest_msprof.results import Run
from pytest_msprof.statistics import centre, shift
from pytest_msprof.verdicts import MIN_LAUNCHES, Delta, Verdict, judge

__all__ = [
    "FLOORS",
    "LISTENER",
    "MIN_LAUNCHES",
    "STRICT",
    "Comparison",
    "ComparisonWarning",
    "Delta",
    "Tolerance",
    "Verdict",
    "compare",
    "contrast",
    "unsuitable",
]

COLUMNS = 80

STRICT: ContextVar[bool] = ContextVar("STRICT", default=False)
"""Whether missing evidence fails (`--msprof-strict`)."""
LISTENER: ContextVar[Callable[[Comparison], None] | None] = ContextVar("LISTENER", default=None)
"""Hears of every comparison made, so that a session can report it."""
FLOORS: ContextVar[Callable[[Sequence[Run], Sequence[Run], Sequence[str]], Floor | None] | None] = ContextVar(
    "FLOORS", default=None
)
"""Knows the noise of metrics between launches of golden, or current, runs from earlier sessions."""


class ComparisonWarning(UserWarning):
    """A comparison had too little evidence for a verdict."""


class Tolerance(Mapping[str, float]):
    """The relative change of each metric that is still fine: `Tolerance({"ttft.p50": 0.10})` is 10 %.

    Only the metrics named here gate. Raises `UnknownName` for a metric that does not exist, and
    `ConfigurationError` for a tolerance that is no fraction.
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        for name, limit in limits.items():
            metric(name)
            number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if not (number and 0 < limit < 1):
                raise ConfigurationError(
                    f"the tolerance of {name!r} must be a fraction between 0 and 1 (0.05 is 5 %), but got {limit!r}"
                )
        self._limits = {name: float(limit) for name, limit in limits.items()}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that gate, in the order they were named."""
        return tuple(self._limits)

    def __getitem__(self, name: str) -> float:
        return self._limits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)

    def __repr__(self) -> str:
        return f"Tolerance({self._limits})"


class Comparison(BaseModel):
    """Current runs against golden ones, metric by metric."""

    model_config = ConfigDict(frozen=True)

    case: str = ""
    engine: str = ""
    deltas: tuple[Delta, ...] = ()
    """Those that gate first."""
    reasons: tuple[str, ...] = ()
    """Why the two sides cannot be compared."""
    golden_run_ids: tuple[str, ...] = ()
    current_run_ids: tuple[str, ...] = ()
    golden_missing: bool = False
    """There was nothing to compare with; this session may become golden."""
    pending: int = 0
    """Launches still planned: the verdict falls with the last, since looking early at every one finds too much."""

    @property
    def gating(self) -> tuple[Delta, ...]:
        """The deltas that decide."""
        return tuple(delta for delta in self.deltas if delta.gates)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict among the metrics that gate."""
        if self.reasons:
            return "incomparable"
        found = {delta.verdict for delta in self.gating}
        return next((verdict for verdict in get_args(Verdict) if verdict in found), "descriptive")

    def raise_for_regression(self, *, strict: bool | None = None) -> None:
        """Raise `Regression` when a metric that gates is worse than its tolerance, or cannot be compared.

        Too little evidence warns, and raises when *strict*; without a golden run it passes.
        """
        __tracebackhide__ = True
        verdict = self.verdict
        if self.golden_missing or verdict in ("improved", "unchanged"):
            return
        if verdict in ("regressed", "incomparable"):
            raise Regression(self._message(verdict))
        if self.pending or not self.gating:
            return
        if STRICT.get() if strict is None else strict:
            raise Regression(self._message(verdict))
        told = LISTENER.get() is not None  # a session shows the figures below its tests
        warnings.warn(self._message(verdict, figures=not told), ComparisonWarning, stacklevel=2)

    def summary(self, *, everything: bool = False) -> str:
        """Return one line of at most 80 columns for each metric that gates, or for *everything* measured."""
        shown = self.deltas if everything or not self.gating else self.gating
        return "\n".join(_line(delta) for delta in shown)

    def to_frame(self) -> Any:
        """Return the deltas as a `pandas.DataFrame`, one a metric; needs the extra `reports`."""
        from importlib import import_module

        return import_module("pandas").DataFrame([delta.model_dump() for delta in self.deltas])

    def _message(self, verdict: str, *, figures: bool = True) -> str:
        worst = [delta for delta in self.gating if delta.verdict == verdict]
        why = dict.fromkeys((*self.reasons, *(f"{delta.metric}: {delta.reason}" for delta in worst if delta.reason)))
        lines = [
            f"{self.case or 'comparison'} is {verdict}",
            *why,
            *([self.summary()] if figures and self.gating else []),
        ]
        return "\n".join(lines)


def compare(
    current: Run | Sequence[Run],
    golden: Sequence[Run],
    tolerance: Tolerance,
    *,
    floor: float | Mapping[str, float] | None = None,
) -> Comparison:
    """Compare *current* with *golden*; a single run stands for all its repeats in this session.

    A metric is improved or regressed when the 95 % interval of its change lies beyond the
    tolerance, by Holm's correction over the metrics of the tolerance, and unchanged when it lies
    inside; otherwise it is inconclusive. With fewer than 4 launches on a side it is descriptive,
    unless *floor* gives the standard deviation between launches on the log scale, measured earlier
    on this machine (for all metrics, or by name). In a session, launches of the same configuration
    that earlier ones left in `.msprof/runs` give it by themselves.
    """
    runs, pending = _evidence(current)
    names = list(dict.fromkeys([*tolerance, *shared_metrics(runs, golden)]))
    reasons = unsuitable(runs, golden)
    deltas = _deltas(runs, golden, names, tolerance, floor=_known_floor(floor, runs, golden, names), pending=pending)
    found = Comparison(
        case=runs[0].case if runs else "",
        engine=runs[0].engine if runs else "",
        deltas=tuple(map(_refused, deltas)) if reasons else deltas,
        reasons=reasons,
        golden_run_ids=tuple(run.id for run in golden),
        current_run_ids=tuple(run.id for run in runs),
        golden_missing=not golden,
        pending=pending,
    )
    if listener := LISTENER.get():
        listener(found)
    return found


def contrast(current: Sequence[Run], golden: Sequence[Run], metrics: Sequence[str]) -> tuple[Delta, ...]:
    """Compare two configurations of one engine: what differs between them is meant to.

    Improved or regressed where the 95 % interval of the change excludes 0; otherwise inconclusive,
    which reads as *not distinguishable*. Each metric is judged alone.
    """
    limits = _client_limits(current, golden)
    found = _deltas(current, golden, metrics, {}, corrected=False)
    return tuple(_refused(delta, "; ".join(limits)) for delta in found) if limits else found


def _deltas(
    current: Sequence[Run],
    golden: Sequence[Run],
    names: Sequence[str],
    tolerance: Mapping[str, float],
    *,
    floor: Floor | None = None,
    pending: int = 0,
    corrected: bool = True,
) -> tuple[Delta, ...]:
    """Judge the metrics *names*, in this order."""
    values = {name: (by_launch(golden, name), by_launch(current, name)) for name in names}
    measured = {
        name: shift(then, now, noise=floor.noise.get(name) if floor and _are_few(then, now) else None)
        for name, (then, now) in values.items()
        if then and now
    }
    told = floor.told if floor else ""
    found = judge(measured, tolerance, pending=pending, corrected=corrected, floor_told=told)
    for name in names:
        found[name] = found.get(name) or _one_sided(name, current, golden, tolerance.get(name))
    return tuple(found[name] for name in names)


def _refused(delta: Delta, reason: str = "") -> Delta:
    """Take the verdict back where the two sides cannot be compared."""
    return delta.model_copy(update={"verdict": "incomparable", "p_value": None, "reason": reason})


def _one_sided(name: str, current: Sequence[Run], golden: Sequence[Run], tolerance: float | None) -> Delta:
    """Describe a metric that a side does not have."""
    then, now = by_launch(golden, name), by_launch(current, name)
    missing = [
        f"{why_missing(runs, name)} ({side})"
        for side, runs, values in (("now", current, now), ("golden", golden, then))
        if runs and not values
    ]
    entry = METRICS.get(name.partition(".")[0])
    return Delta(
        metric=name,
        unit=entry.unit if entry else "",
        better=entry.better if entry else None,
        golden=centre(then) if then else None,
        current=centre(now) if now else None,
        tolerance=tolerance,
        verdict="incomparable" if missing else "descriptive",
        launches_golden=len(then),
        launches_current=len(now),
        gates=tolerance is not None,
        reason="; ".join(missing) or "there is no golden run yet",
    )


def _known_floor(
    floor: float | Mapping[str, float] | None, current: Sequence[Run], golden: Sequence[Run], names: Sequence[str]
) -> Floor | None:
    """Return the noise between launches that was given, or that earlier sessions left."""
    if floor is not None:
        return Floor(floor if isinstance(floor, Mapping) else dict.fromkeys(names, floor))
    known = FLOORS.get()
    few = current and golden and _are_few({run.launch_id for run in current}, {run.launch_id for run in golden})
    return known(golden, current, names) if known and few else None


def _are_few(*sides: Sized) -> bool:
    """Say whether a side has too few launches to show its own noise."""
    return min(map(len, sides)) < MIN_LAUNCHES


def _evidence(current: Run | Sequence[Run]) -> tuple[list[Run], int]:
    """Return the runs to judge, and how many launches are still to come."""
    if not isinstance(current, Run):
        return list(current), 0
    runs = [run for run in current.repeats if same_experiment(run, current)]
    return runs, max(0, current.planned - len({run.launch_id for run in runs}))


def unsuitable(current: Sequence[Run], golden: Sequence[Run], across: Collection[str] = ()) -> tuple[str, ...]:
    """Return why no verdict can come from these two sides, one sentence each; *across* says what may differ."""
    if not current:
        return ("there is no current run",)
    if not golden:
        return ()
    cut = [
        f"every {side} run was cut short"
        for side, runs in (("current", current), ("golden", golden))
        if not whole(runs)
    ]
    return (*cut, *_client_limits(current, golden), *obstacles(current, golden, across))


def _client_limits(current: Sequence[Run], golden: Sequence[Run]) -> list[str]:
    """Say where a load generator measured itself: leaving such runs out would leave out the fastest ones."""
    return [
        f"the client was the bottleneck in {len(limited)} of {len(runs)} {side} runs: {limited[0].client_limited}"
        for side, runs in (("current", current), ("golden", golden))
        if (limited := [run for run in runs if run.client_limited])
    ]


def _line(delta: Delta) -> str:
    """Write one metric: golden, now, change with its interval, launches, verdict."""
    bounds = "" if delta.low is None or delta.high is None else f"{delta.low:+.0%}..{delta.high:+.0%}"
    values = f"{_figure(delta.golden, delta.unit):>9} {_figure(delta.current, delta.unit):>9}"
    launches = f"{delta.launches_golden}+{delta.launches_current}"
    return f"{delta.metric:<18} {values} {change(delta.change):>7} {bounds:>13} {launches:>4} {delta.verdict}"[:COLUMNS]


def _figure(value: float | None, unit: str) -> str:
    """Write a figure without the unit of a rate, which takes more room than the figure."""
    if unit in ("s", "s/token"):
        return seconds(value)
    return percent(value) if unit == "1" else rate(value, "")
