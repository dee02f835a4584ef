"""What a `tune` mark asks for, checked before anything starts, and the test items that follow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, Literal, NamedTuple, Self

from pytest_msprof.errors import ConfigurationError, InvalidSpace, MetricMissing, UnknownName
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.ids import digest
from pytest_msprof.metric_table import AGREEMENT, COST, QUALITY, SAMPLE_NEEDED, SCORE, Metric, metric
from pytest_msprof.prices import with_cost
from pytest_msprof.results import Run
from pytest_msprof.space import SearchSpace
from pytest_msprof.tuning.goals import Goals
from pytest_msprof.workload import Workload

__all__ = ["BY_HAND", "LOADS", "ROLES", "Objective", "Slot", "TunePlan"]

LOADS = ("fixed", "max_under_slo", "sweep")
TIGHTENED = 0.1
"""Share by which limits are tightened while searching: one run is noisy, and the winner must hold them again."""
EVERY_OTHER = "*"
"""Stands for the models that a limit does not name."""
LEAST_AGREEMENT = 0.9
"""Limit on `agreement` in a space with a field that changes numerics."""
BY_HAND = ("CONCURRENCY", "MAXCONCURRENCY", "REQUESTRATE")
"""Fields of a space that set the load."""
Role = Literal["winner", "runner-up", "default"]
ROLES: tuple[Role, ...] = ("winner", "runner-up", "default")


@dataclass(frozen=True, slots=True)
class Slot:
    """One test item of a study: a trial, a confirming launch, or the result."""

    kind: Literal["trial", "confirm", "result"]
    index: int = 0
    role: Role = "default"

    @property
    def id(self) -> str:
        """The item's part of the node id."""
        if self.kind == "trial":
            return f"trial-{self.index}"
        return f"confirm-{self.role}-{self.index}" if self.kind == "confirm" else "result"


class Objective(NamedTuple):
    """A metric and the way it should go."""

    metric: str
    maximize: bool


@dataclass(frozen=True, slots=True)
class TunePlan:
    """A study as its author wrote it."""

    space: SearchSpace
    workload: Workload
    objective: str = SCORE
    """The metric that counts; `score` where there are several `objectives`."""
    subject_to: Mapping[str, float] = field(default_factory=dict)
    """Metric → limit; before `for_model`, a limit may be a table of models."""
    load: str = "fixed"
    n_trials: int = 0
    minutes: float | None = None
    search: Any = "auto"
    confirm: int = 4
    seed: int = 0
    name: str | None = None
    objectives: Mapping[str, float] | Sequence[str] = ()
    """Metrics that count together, with weights or without; empty where there is one objective."""
    price_per_hour: float | None = None
    """What an hour of everything that serves one trial costs, in any currency, for the metric `cost`."""

    @classmethod
    def of(cls, *args: Any, **values: Any) -> TunePlan:
        """Read the arguments of `pytest.mark.tune`.

        Raises `ConfigurationError` for everything that could only fail later.
        """
        if len(args) != 1 or not isinstance(args[0], SearchSpace):
            found = ", ".join(type(arg).__name__ for arg in args) or "nothing"
            raise InvalidSpace(f"tune needs one SearchSpace as its first argument, but got {found}")
        known = {name for name in cls.__dataclass_fields__ if name != "space"}
        for name in values:
            if name not in known:
                raise UnknownName("argument of tune", name, known)
        if "objective" in values and "objectives" in values:
            raise ConfigurationError("tune takes objective or objectives, but got both")
        goal = "objectives" if "objectives" in values else "objective"
        missing = sorted({"workload", goal, "n_trials"} - set(values))
        if missing:
            raise ConfigurationError(f"tune needs {', '.join(missing)}")
        if isinstance(limits := values.get("subject_to", {}), Mapping):
            values["subject_to"] = _guarded(limits, args[0])
        plan = cls(args[0], **values)
        plan._check()
        return plan

    def _check(self) -> None:
        if not isinstance(self.workload, Workload):
            raise ConfigurationError(f"tune needs a Workload as workload, but got {type(self.workload).__name__}")
        if self.load not in LOADS:
            raise UnknownName("load mode", self.load, LOADS)
        for name, low in (("n_trials", 1), ("confirm", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigurationError(f"tune needs {name} as a whole number from {low}, but got {value!r}")
        price = self.price_per_hour
        if price is not None and not (isinstance(price, int | float) and 0 < price < math.inf):
            raise ConfigurationError(f"tune needs price_per_hour above 0, but got {price!r}")
        if self.minutes is not None and not (isinstance(self.minutes, int | float) and self.minutes > 0):
            raise ConfigurationError(f"tune needs minutes above 0, but got {self.minutes!r}")
        self._check_metrics()
        if self.load != "fixed":
            self.check_load()

    def check_load(self) -> None:
        """Refuse a load that is to be found and is given."""
        asked = self.workload
        if asked.stages or asked.keeps_times or asked.arrival == "burst":
            raise ConfigurationError(
                f"tune(load={self.load!r}) sets the load itself: the workload must not have stages, a burst or times"
            )
        if given := [entry.name for entry in self.space if entry.name.upper() in BY_HAND]:
            raise ConfigurationError(
                f"tune(load={self.load!r}) finds the load inside each trial, so the space must not have {given[0]!r}"
            )
        if self.load == "max_under_slo" and not self._straining():
            raise ConfigurationError(
                "tune(load='max_under_slo') needs a limit that a heavier load can break, such as "
                f"subject_to={{'ttft.p99': 0.5}}, but got {dict(self.subject_to)!r}"
            )

    def _check_metrics(self) -> None:
        if not isinstance(self.subject_to, Mapping):
            raise ConfigurationError(f"tune needs subject_to as {{metric: limit}}, but got {self.subject_to!r}")
        try:
            for name in self.metrics:
                metric(name)
        except MetricMissing as error:
            raise ConfigurationError(f"tune: {error}") from None
        for name in self.metrics:
            self._check_measurable(name)
        for name, limit in self.subject_to.items():
            for given in limit.values() if isinstance(limit, Mapping) else (limit,):
                if not (isinstance(given, int | float) and math.isfinite(given) and given > 0):
                    raise ConfigurationError(f"tune needs a limit above 0 for {name!r}, but got {limit!r}")

    def _check_measurable(self, name: str) -> None:
        """Refuse what no run of this workload can have: it would fail only after the first launch."""
        base, _, statistic = name.partition(".")
        if base == SCORE:
            raise ConfigurationError(
                f"tune: {SCORE!r} is what several objectives make together, "
                "as objectives={'output_throughput': 2, 'ttft.p50': 1}"
            )
        if base == COST and self.price_per_hour is None:
            raise ConfigurationError(f"tune: {COST} needs to know what an hour costs: tune(price_per_hour=2.5)")
        if base == "goodput" and not self.workload.goodput:
            raise ConfigurationError(
                "tune: goodput needs to know what a good request is: Workload(goodput={'ttft': 0.5, 'tpot': 0.05})"
            )
        needed, sent = SAMPLE_NEEDED.get(statistic, 1), self.workload.num_requests
        if base != "itl" and sent is not None and needed > sent:
            raise ConfigurationError(f"tune: {name} needs {needed} requests, but the workload sends {sent}")

    def for_model(self, model: str) -> Self:
        """Return the plan with the limits of *model*: its own, else those of `*`, where a limit names models.

        A model goes by its name, or by the last part of it or of its path. Raises `ConfigurationError` where the
        load is to be found and no limit is left that could end it.
        """
        found = {name: _limit_of(model, limit) for name, limit in self.subject_to.items()}
        plan = replace(self, subject_to={name: limit for name, limit in found.items() if limit is not None})
        if plan.load != "fixed":
            plan.check_load()
        return plan

    def for_engine(self, fields: Iterable[OptimizerConfigField]) -> Self:
        """Return the plan whose space knows what *fields*, those of the engine, say about being left out."""
        return replace(self, space=self.space.knowing(fields))

    @property
    def goals(self) -> Goals | None:
        """The objectives where there are several."""
        return Goals.of(self.objectives) if self.objectives else None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that a run must have: objectives first, then what is limited, each once."""
        objectives = self.goals.metrics if self.goals else (self.objective,)
        return tuple(dict.fromkeys((*objectives, *self.subject_to)))

    @property
    def maximize(self) -> bool:
        """Whether a larger objective is better."""
        return metric(self.objective).better == "higher"

    @property
    def search_name(self) -> str:
        """The search in words: a name, the swarm with its coefficients, or the class of a sampler."""
        if isinstance(self.search, str):
            return self.search
        return repr(self.search) if is_dataclass(self.search) else type(self.search).__name__

    def slots(self) -> tuple[Slot, ...]:
        """Return the test items: the trials, the confirmations interleaved, the result."""
        trials = [Slot("trial", index) for index in range(self.n_trials)]
        confirmations = [Slot("confirm", index, role) for index in range(self.confirm) for role in ROLES]
        return (*trials, *confirmations, Slot("result"))

    def digest(self) -> str:
        """Return the identity of the question: space, objective, constraints, workload, load and seed."""
        return digest(self.describe())

    @property
    def is_judged(self) -> bool:
        """Whether a trial needs figures of its answers, beside those of the load."""
        return any(metric(name).name in (AGREEMENT, QUALITY) for name in self.metrics)

    def describe(self) -> dict[str, Any]:
        """Return the question as JSON, for the study's record and for showing what changed."""
        return {
            "space": self.space.describe(),
            "space_digest": self.space.digest(),
            "default": dict(self.space.default),
            "objective": self.objective,
            "subject_to": dict(self.subject_to),
            "workload": self.workload.model_dump(mode="json"),
            "load": self.load,
            "search": self.search_name,
            "seed": self.seed,
            **({"where": sorted(condition.text for condition in self.space.where)} if self.space.where else {}),
            **({"objectives": self.goals.describe()} if self.goals else {}),
            **({"price_per_hour": self.price_per_hour} if self.price_per_hour is not None else {}),
        }

    def measure(self, run: Run) -> dict[str, float]:
        """Return the objectives and every constrained metric of *run*, and the score of several objectives.

        Raises `MetricMissing` where the run lacks one: a missing metric is never a pass.
        """
        run = self._priced(run)
        found = {name: run.value(run.as_objective(name)) for name in self.metrics}
        for name, value in found.items():
            if not math.isfinite(value):
                raise MetricMissing(f"{name} is {value}, which no study can learn from")
        return {SCORE: self.goals.score(found), **found} if self.goals else found

    def scored(self, run: Run) -> Run:
        """Return *run* with what the study makes of it: the cost, and the score of several objectives."""
        run = self._priced(run)
        if not self.goals:
            return run
        return run.model_copy(update={"metrics": {**run.metrics, SCORE: self.measure(run)[SCORE]}})

    def judged(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the *metrics* that another study kept with this one's cost and score.

        Raises `MetricMissing` where an objective or a limited metric is not among them.
        """
        found = with_cost(metrics, self.price_per_hour)
        if missing := [name for name in self.metrics if name not in found]:
            raise MetricMissing(f"an earlier trial has no {', '.join(missing)}")
        return {**found, SCORE: self.goals.score(found)} if self.goals else found

    def _priced(self, run: Run) -> Run:
        if self.price_per_hour is None:
            return run
        return run.model_copy(update={"metrics": with_cost(run.metrics, self.price_per_hour)})

    def violations(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return by how much each constraint is missed, relative to its limit; ≤ 0 is met."""
        return {name: self._excess(name, metrics[name], limit) for name, limit in self.subject_to.items()}

    @staticmethod
    def _excess(name: str, value: float, limit: float) -> float:
        relative = value / limit - 1
        return relative if metric(name).better == "lower" else -relative

    def tightened(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the violations of the limits as a search sees them, a tenth stricter than they are."""
        return {name: self._excess(name, metrics[name], self._strict(name)) for name in self.subject_to}

    def strain(self, metrics: Mapping[str, float]) -> float:
        """Return the worst metric over its tightened limit, among those that a heavier load makes worse; ≤ 1 holds."""
        return max((self._ratio(name, metrics[name]) for name in self._straining()), default=0.0)

    def _straining(self) -> list[str]:
        return [name for name in self.subject_to if _is_of_load(metric(name))]

    def _ratio(self, name: str, value: float) -> float:
        limit = self._strict(name)
        if metric(name).better == "lower":
            return value / limit
        missing, allowed = 1 - value, 1 - limit
        return missing / allowed if allowed > 0 else math.inf if missing > 0 else 0.0

    def _strict(self, name: str) -> float:
        """Return the tightened limit; a share of requests stays as it is, since there is nothing above all of them."""
        found, limit = metric(name), self.subject_to[name]
        if found.unit == "1":
            return limit
        return limit * (1 - TIGHTENED if found.better == "lower" else 1 + TIGHTENED)

    def infeasible(self, metrics: Mapping[str, float]) -> str:
        """Say which constraints *metrics* miss, empty when all are met."""
        missed = [name for name, excess in self.violations(metrics).items() if excess > 0]
        return "; ".join(self._missed(name, metrics[name]) for name in missed)

    def _missed(self, name: str, value: float) -> str:
        found = metric(name)
        relation = ">" if found.better == "lower" else "<"
        unit = "" if found.unit == "1" else f" {found.unit}"
        return f"{name} {value:.4g}{unit} {relation} {self.subject_to[name]:.4g}{unit}"


def _guarded(limits: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """Return *limits* with one on `agreement` where the space changes numerics and nobody said None to it."""
    given = dict(limits)
    if AGREEMENT not in given and any(entry.changes_numerics for entry in space.searched):
        given[AGREEMENT] = LEAST_AGREEMENT
    return {name: limit for name, limit in given.items() if not (name == AGREEMENT and limit is None)}


def _limit_of(model: str, limit: float | Mapping[str, float]) -> float | None:
    if not isinstance(limit, Mapping):
        return limit
    known = (name for name in (model, model.rstrip("/").rpartition("/")[2], EVERY_OTHER) if name in limit)
    return next((limit[name] for name in known), None)


def _is_of_load(found: Metric) -> bool:
    """Say whether a heavier load makes a metric worse: a latency, or a share of requests."""
    return found.name not in (AGREEMENT, QUALITY) and (found.distribution or found.unit == "1")
