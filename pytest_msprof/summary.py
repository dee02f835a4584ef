"""What one session found, as report writers read it: runs, comparisons and studies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_msprof.comparison import Comparison, Delta
from pytest_msprof.results import Run, Value
from pytest_msprof.workload import Workload

__all__ = ["Confirmation", "Effect", "EffectPoint", "LoadPoint", "SessionSummary", "StudySummary", "TrialRecord"]

NO_REASON_TO_KEEP = ("improved", "descriptive", "incomparable")
"""Verdicts on the objective after which nobody is told to keep the default: it got better, or nobody can say."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class LoadPoint(_Frozen):
    """One load that a trial sent to its live service."""

    load: float
    """Concurrency, or request rate where the workload has one."""
    metrics: dict[str, float]
    run_id: str = ""
    """The run that measured it; empty in studies that kept no such thing."""


class TrialRecord(_Frozen):
    """One configuration that a study tried."""

    number: int
    fields: dict[str, Value]
    """What was set; a field of the space that is absent was left to the engine."""
    state: Literal["measured", "infeasible", "behind", "failed"]
    """Whether it met the limits; `behind` ended after a short run, clearly worse than the best one."""
    value: float | None = None
    """The objective, in its metric's unit; None where it was not measured."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Every objective, the score of several, and every constrained metric, by name (`ttft.p50`)."""
    load: float | None = None
    """The concurrency or rate that was found for it; None where the load is fixed."""
    loads: tuple[LoadPoint, ...] = ()
    """Every load that was measured to find it."""
    reason: str = ""
    """Why it is infeasible, behind or failed, one line."""
    failure: str = ""
    """Class of the failure (`pytest_msprof.failures`)."""
    before_load: bool = False
    """Whether it failed before any load was sent."""
    log_tail: str = ""
    duration: float | None = None
    """Seconds from ask to tell, start of the engine included."""
    run_ids: tuple[str, ...] = ()


class Confirmation(_Frozen):
    """Fresh launches of one configuration, measured after the search."""

    role: Literal["winner", "runner-up", "default"]
    number: int
    """The trial that proposed it."""
    fields: dict[str, Value]
    runs: tuple[Run, ...] = ()
    failures: tuple[str, ...] = ()
    """One line for each launch that failed."""
    broken: int = 0
    """Launches that missed a constraint."""

    @property
    def misses_limits(self) -> bool:
        """Whether at least half of its launches missed a constraint."""
        return bool(self.runs) and 2 * self.broken >= len(self.runs) + len(self.failures)


class EffectPoint(_Frozen):
    """The objective at one value of a field, whatever the others are."""

    value: Value
    mean: float
    """Expected objective, in its metric's unit."""
    low: float
    """It is below this with a probability of 5 %."""
    high: float
    """It is above this with a probability of 5 %."""


class Effect(_Frozen):
    """What one field does to the objective."""

    field: str
    importance: float
    """Share of the observed variance that goes when the field is held, 0 to 1; shares may overlap."""
    low: float
    high: float
    """The importance lies between these two with a probability of 90 %."""
    points: tuple[EffectPoint, ...]
    """The partial dependence, in the order of the field's values."""


class StudySummary(_Frozen):
    """One study: what was searched, what came out, and how sure that is."""

    name: str
    """Node id of the study's test, without the item."""
    key: str
    engine: str
    objective: str
    """The metric that counts; `score` where there are several objectives."""
    objectives: dict[str, float] = Field(default_factory=dict)
    """Metric → weight where there are several objectives; empty for one."""
    front: tuple[int, ...] = ()
    """The trials within the limits that no other beats in every objective, by their search runs; empty for one."""
    subject_to: dict[str, float] = Field(default_factory=dict)
    workload: Workload
    space: dict[str, str] = Field(default_factory=dict)
    """Field name → what it may be, in words."""
    sampler: str = ""
    seed: int = 0
    n_trials: int
    trials: tuple[TrialRecord, ...] = ()
    winner: int | None = None
    """Number of the recommended trial; None when nothing met the constraints."""
    confirmations: tuple[Confirmation, ...] = ()
    deltas: tuple[Delta, ...] = ()
    """The winner against the default: the objective first, then each of several, then what is limited."""
    verdict: str = ""
    """One sentence: what the user should do."""
    command: str = ""
    """Ready-to-run command line of the winner."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables the command needs."""
    config_file: str = ""
    """Name of the file that configures the winner, empty where the command line says everything."""
    config_text: str = ""
    """What stands in that file."""
    effects: tuple[Effect, ...] = ()
    """What each field that varied does to the objective, the most important first."""
    untried: tuple[str, ...] = ()
    """What was not tried and why, one sentence each."""
    stopped: str = ""
    """Why the search ended before its trials were spent, empty where it did not."""
    notes: tuple[str, ...] = ()

    @property
    def keeps_default(self) -> bool:
        """Whether to keep the default, whichever configuration the search found best.

        That is where the winner is the default, or was not seen to differ from it for the better; a
        default that misses the limits, or was not measured beside the winner, is not kept.
        """
        if self.winner == 0 or not self.deltas:
            return self.winner == 0
        verdict = self.deltas[0].verdict
        default = next((entry for entry in self.confirmations if entry.number == 0), None)
        if default is not None and default.misses_limits and verdict != "incomparable":
            return False
        return verdict not in NO_REASON_TO_KEEP

    @property
    def published(self) -> tuple[Confirmation, ...]:
        """The confirmations that go into pytest-benchmark's table: the default and what beat it."""
        return tuple(entry for entry in self.confirmations if entry.number in (0, self.winner) and entry.runs)

    def trial(self, number: int) -> TrialRecord:
        """Return the trial *number*."""
        return next(trial for trial in self.trials if trial.number == number)


class SessionSummary(_Frozen):
    """One pytest session that measured something."""

    session_id: str
    started_at: datetime
    duration: float
    rootdir: str
    engines: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    studies: tuple[StudySummary, ...] = ()
    golden_recorded: tuple[str, ...] = ()
    """Cases whose runs became golden in this session."""
    environment: Mapping[str, Value] = Field(default_factory=dict)
