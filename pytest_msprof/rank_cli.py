"""`pytest-msprof rank`: the trials of a finished study under other objectives and limits, without a new run."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_msprof.errors import ConfigurationError, MetricMissing, MsprofError
from pytest_msprof.objectives import parse_limit

if TYPE_CHECKING:
    from pytest_msprof.store import RunStore
    from pytest_msprof.summary import TrialRecord

__all__ = ["Candidate", "Objective", "add_arguments", "candidates", "main", "order"]


class Objective(NamedTuple):
    """A metric that counts, and how much."""

    metric: str
    weight: float | None
    """None where it was not said: several such objectives give the front of those that nothing beats."""

    @property
    def maximize(self) -> bool:
        """Whether larger values are better."""
        from pytest_msprof.metric_table import metric

        return metric(self.metric).better == "higher"


class Candidate(NamedTuple):
    """A load of a trial that has every figure and meets every limit."""

    trial: TrialRecord
    values: tuple[float, ...]
    """One an objective."""
    load: float | None = None
    """Concurrency or rate, None where the study sent the same load to every configuration."""


class Measured(NamedTuple):
    """What a trial came to under one load: what the study kept of it, and its run."""

    load: float | None
    metrics: Mapping[str, float]
    run_id: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("study", nargs="?", metavar="CASE", help="node id of the study's test (default: the only one)")
    parser.add_argument(
        "--objective",
        action="append",
        required=True,
        metavar="METRIC[:WEIGHT]",
        help="what counts, such as output_throughput or ttft.p50; several without weights: the Pareto front",
    )
    parser.add_argument(
        "--subject-to", action="append", default=[], metavar="METRIC:LIMIT", help="in SI units, such as ttft.p50:0.2"
    )
    parser.add_argument(
        "--price-per-hour", type=float, metavar="PRICE", help="what an hour of everything that serves costs, for cost"
    )
    parser.add_argument("--rootdir", type=Path, default=Path(), metavar="DIR", help="project whose .msprof is read (.)")
    parser.add_argument("--storage", metavar="URL", help="database of the study, as --msprof-study named it")


def main(args: argparse.Namespace) -> int:
    """Print the candidates, best first, and how many trials are left out and why."""
    from pytest_msprof.display import metric_value
    from pytest_msprof.metric_table import metric
    from pytest_msprof.store import RunStore
    from pytest_msprof.tuning.database import Database
    from pytest_msprof.tuning.finished import studies, trials_of
    from pytest_msprof.tuning.storage import Journals

    objectives = [_objective(text) for text in args.objective]
    limits = dict(parse_limit(text) for text in args.subject_to)
    for name in limits:
        metric(name)
    price = args.price_per_hour
    if price is not None and not 0 < price < math.inf:
        raise ConfigurationError(f"--price-per-hour needs a price above 0, but got {price:g}")
    folder = args.rootdir / ".msprof"
    shelf = Database(args.storage) if args.storage else Journals(folder / "studies")
    case = args.study or _only(list(studies(shelf)), folder)
    found, left_out = candidates(trials_of(shelf, case), RunStore(folder / "runs"), objectives, limits, price)
    for candidate in order(found, objectives):
        figures = ", ".join(
            metric_value(objective.metric, value) for objective, value in zip(objectives, candidate.values, strict=True)
        )
        print(f"{candidate.trial.number:>4}  {figures}  {_described(candidate)}")
    for number, reason in left_out:
        print(f"{number:>4}  left out: {reason}")
    return 0 if found else 1


def candidates(
    trials: Sequence[TrialRecord],
    store: RunStore,
    objectives: Sequence[Objective],
    limits: Mapping[str, float],
    price_per_hour: float | None = None,
) -> tuple[list[Candidate], list[tuple[int, str]]]:
    """Return every load of a trial that can be ranked, and the numbers of trials without one, with the reason.

    The load that stood for a trial in its study need not be the right one under other limits. A figure that a
    load does not have leaves it out: a missing metric is never a pass.
    """
    found: list[Candidate] = []
    left_out = []
    for trial in trials:
        reasons = []
        for measured in _loads(trial):
            try:
                value = partial(_value, measured, store, price_per_hour)
                values = tuple(value(objective.metric) for objective in objectives)
                reason = _missed(value, limits)
            except MsprofError as error:
                values, reason = (), str(error)
            if reason:
                reasons.append(reason)
            else:
                found.append(Candidate(trial, values, measured.load))
        if not found or found[-1].trial is not trial:
            left_out.append((trial.number, reasons[0] if reasons else trial.failure or trial.state))
    return found, left_out


def _loads(trial: TrialRecord) -> list[Measured]:
    """Return what *trial* came to under each of its loads, first under the one that stood for it."""
    if trial.state in ("failed", "behind"):
        return []
    stood = Measured(trial.load, trial.metrics, trial.run_ids[0] if trial.run_ids else "")
    others = [Measured(point.load, point.metrics, point.run_id) for point in trial.loads]
    return [stood, *(other for other in others if (other.load, other.metrics) != (stood.load, stood.metrics))]


def _missed(value: Callable[[str], float], limits: Mapping[str, float]) -> str:
    """Say which limit is missed by a load with these figures, empty when it meets them all."""
    from pytest_msprof.display import metric_value
    from pytest_msprof.metric_table import metric

    for name, limit in limits.items():
        found, is_ceiling = value(name), metric(name).better == "lower"
        if not (found <= limit if is_ceiling else found >= limit):
            return f"{name} {metric_value(name, found)} {'>' if is_ceiling else '<'} {metric_value(name, limit)}"
    return ""


def order(found: Sequence[Candidate], objectives: Sequence[Objective]) -> list[Candidate]:
    """Return the candidates best first; of several objectives without weights, those that nothing beats.

    In an order each trial stands once, with its best load; in a front it stands with every load that nothing beats.
    """
    from pytest_msprof.tradeoffs import front, weighted

    values, maximize = [candidate.values for candidate in found], [objective.maximize for objective in objectives]
    if not found:
        return []
    if len(objectives) > 1 and all(objective.weight is None for objective in objectives):
        kept = [found[place] for place in front(values, maximize)]
        return sorted(kept, key=lambda candidate: -candidate.values[0] if maximize[0] else candidate.values[0])
    if any(not 0 < value < math.inf for row in values for value in row):
        raise ConfigurationError("objectives with weights need values above 0 in every trial")
    weights = [1.0 if objective.weight is None else objective.weight for objective in objectives]
    gains = weighted(values, maximize, weights, values[0])
    best: dict[int, Candidate] = {}
    for place in sorted(range(len(found)), key=lambda place: -gains[place]):
        best.setdefault(found[place].trial.number, found[place])
    return list(best.values())


def _value(measured: Measured, store: RunStore, price_per_hour: float | None, name: str) -> float:
    """Return a figure of a load: what the study kept, else what its run has; the cost follows from the price."""
    from pytest_msprof.metric_table import COST
    from pytest_msprof.prices import with_cost

    if name == COST and price_per_hour is not None:
        rate = "output_throughput"
        priced = with_cost({rate: _value(measured, store, None, rate)}, price_per_hour)
        if COST not in priced:
            raise MetricMissing(f"no tokens, and so no {COST}")
        return priced[COST]
    if name in measured.metrics:
        return measured.metrics[name]
    if name == COST:
        raise MetricMissing(f"{COST} needs to know what an hour costs: --price-per-hour")
    if not measured.run_id:
        raise MetricMissing(f"no run has {name}")
    run = store.load(measured.run_id)
    return run.value(run.as_objective(name))


def _described(candidate: Candidate) -> str:
    from pytest_msprof.display import field_values

    fields = field_values(candidate.trial.fields)
    return fields if candidate.load is None else f"{fields}, load {candidate.load:g}"


def _objective(text: str) -> Objective:
    from pytest_msprof.metric_table import metric

    name, colon, weight = text.partition(":")
    try:
        found = float(weight) if colon else None
        metric(name)
    except (ValueError, MetricMissing) as error:
        raise ConfigurationError(f"an objective is METRIC or METRIC:WEIGHT, but got {text!r}: {error}") from None
    if found is not None and not 0 < found < math.inf:
        raise ConfigurationError(f"an objective needs a weight above 0, but got {text!r}")
    return Objective(name, found)


def _only(cases: Sequence[str], folder: Path) -> str:
    if len(cases) == 1:
        return cases[0]
    raise ConfigurationError(
        f"there are {len(cases)} studies in {folder}; name one: {', '.join(cases)}"
        if cases
        else f"no study in {folder}"
    )
