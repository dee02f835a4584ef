"""What a study came to: the winner against the default, and one sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pytest_msprof.comparison import Delta, contrast
from pytest_msprof.display import change, field_values, load_value, metric_value, percent
from pytest_msprof.errors import MsprofError
from pytest_msprof.results import Run, Value
from pytest_msprof.summary import Confirmation, StudySummary, TrialRecord
from pytest_msprof.tuning.effects import effects
from pytest_msprof.tuning.plan import Role, TunePlan
from pytest_msprof.tuning.ranking import Launched, winner_of
from pytest_msprof.tuning.stopping import failure_classes
from pytest_msprof.tuning.study import TuneStudy
from pytest_msprof.tuning.untried import untried

__all__ = ["Outcome", "by_hand", "conclude"]

PORT = "8000"
"""Stands in a command for the port that one launch happened to get."""


class Outcome(NamedTuple):
    """The study as reports show it, and whether its `[result]` passes."""

    summary: StudySummary
    failure: str
    """Why the result fails, empty when it passes."""
    run: Run | None = None
    """A run of the winner, whose command the summary shows."""


def conclude(study: TuneStudy, session_id: str, load: Callable[[str], Run]) -> Outcome:
    """Draw the conclusion from what *study* holds; *load* finds a recorded run by its id."""
    plan, records = study.plan, study.records()
    confirmations, earlier = _confirmed(study, session_id, load)
    winner = _winner(plan, confirmations, study.ranking())
    deltas = _deltas(plan, confirmations, winner)
    stopped = study.why_ended()
    verdict, failure = _verdict(plan, records, confirmations, winner, deltas) if records else _unmeasured(stopped)
    if earlier:
        verdict = f"as an earlier session confirmed: {verdict}"
        failure = failure and verdict
    facts = study.attributes
    run = _run_of(confirmations, records, winner, load)
    command, environment = _command(run)
    return Outcome(
        StudySummary(
            name=facts.get("case", study.name),
            key=facts.get("key", ""),
            engine=facts.get("engine", ""),
            objective=plan.objective,
            objectives=dict(plan.goals.weights) if plan.goals else {},
            front=_front(plan, records),
            subject_to=dict(plan.subject_to),
            workload=plan.workload,
            space=plan.space.describe(),
            sampler=plan.search_name,
            seed=plan.seed,
            n_trials=plan.n_trials,
            trials=records,
            winner=winner,
            confirmations=confirmations,
            deltas=deltas,
            verdict=verdict,
            command=command,
            environment=environment,
            config_file=run.environment.get("config_file", "") if run else "",
            effects=effects(study.measured(_launched(plan, confirmations)), plan.space),
            untried=(*study.ruled_out(), *untried(plan, records, study.refused(), stopped)),
            stopped=stopped,
        ),
        failure,
        run,
    )


def _front(plan: TunePlan, records: Sequence[TrialRecord]) -> tuple[int, ...]:
    """Return the trials within the limits that no other beats, by one run each; empty for one objective."""
    if plan.goals is None:
        return ()
    return plan.goals.front({record.number: record.metrics for record in records if record.state == "measured"})


def _confirmed(study: TuneStudy, session_id: str, load: Callable[[str], Run]) -> tuple[tuple[Confirmation, ...], bool]:
    """Return what confirms the winner, and whether an earlier session found it: this one measured nothing anew.

    Runs that were pruned since confirm nothing.
    """
    own = tuple(_confirmations(study, session_id, load))
    if own or not (latest := study.confirmations.latest()):
        return own, False
    earlier = tuple(_confirmations(study, latest, load))
    kept = sum(len(entry.runs) for entry in earlier)
    known = sum("run" in launch for entries in study.confirmations.of(latest).values() for launch in entries)
    return (earlier, True) if kept == known else ((), False)


def _confirmations(study: TuneStudy, session_id: str, load: Callable[[str], Run]) -> Sequence[Confirmation]:
    found = []
    by_number = {record.number: record for record in study.records()}

    def measured(run_id: str) -> Run | None:
        run = _loaded(load, run_id)
        return run and study.plan.scored(run)

    for role, entries in study.confirmations.of(session_id).items():
        number = entries[0]["number"]
        found.append(
            Confirmation(
                role=role,
                number=number,
                fields=by_number[number].fields if number in by_number else {},
                runs=tuple(run for entry in entries if "run" in entry and (run := measured(entry["run"]))),
                failures=tuple(entry["reason"] for entry in entries if "failure" in entry),
                broken=sum(1 for entry in entries if entry.get("broken")),
            )
        )
    return found


def _loaded(load: Callable[[str], Run], run_id: str) -> Run | None:
    try:
        return load(run_id)
    except MsprofError:
        return None


def _winner(plan: TunePlan, confirmations: Sequence[Confirmation], ranking: Mapping[Role, int]) -> int | None:
    """Return the best trial that held when it was measured again; the search's best before that."""
    searched = ranking.get("winner")
    if searched is None or all(entry.number != searched for entry in confirmations):
        return searched
    launched = [
        Launched(entry.number, _values(entry, plan.objective), len(entry.failures), entry.broken)
        for entry in confirmations
    ]
    return winner_of(launched, searched, maximize=plan.maximize)


def _launched(plan: TunePlan, confirmations: Sequence[Confirmation]) -> dict[int, list[float]]:
    """Return the objective of each confirming launch, by trial: what differs between them is noise."""
    return {
        entry.number: [run.value(run.as_objective(plan.objective)) for run in entry.runs] for entry in confirmations
    }


def _values(confirmation: Confirmation, name: str) -> tuple[float, ...]:
    return tuple(run.value(run.as_objective(name)) for run in confirmation.runs)


def _role(confirmations: Sequence[Confirmation], number: int | None) -> Confirmation | None:
    return next((entry for entry in confirmations if entry.number == number and entry.runs), None)


def _deltas(plan: TunePlan, confirmations: Sequence[Confirmation], winner: int | None) -> tuple[Delta, ...]:
    best, default = _role(confirmations, winner), _role(confirmations, 0)
    if best is None or default is None or best.number == default.number:
        return ()
    names = [best.runs[0].as_objective(name) for name in dict.fromkeys((plan.objective, *plan.metrics))]
    return contrast(best.runs, default.runs, names)


def _verdict(
    plan: TunePlan,
    records: Sequence[TrialRecord],
    confirmations: Sequence[Confirmation],
    winner: int | None,
    deltas: Sequence[Delta],
) -> tuple[str, str]:
    """Return the sentence, and the same as a failure where the result fails."""
    if all(record.state == "failed" for record in records):
        text = f"all {len(records)} trials failed: {failure_classes(records)}"
        return text, text
    if winner is None:
        text = _nothing_met(plan, records)
        return text, text
    if not confirmations:
        return _unconfirmed(plan, records, winner), ""
    if winner == 0:
        alone = len(records) == 1
        why = "nothing else was tried" if alone else "no other configuration held up against it when confirmed"
        return f"keep the default: {why}", ""
    return _against_default(plan, records, confirmations, winner, deltas)


def _unmeasured(stopped: str) -> tuple[str, str]:
    return stopped or "nothing was measured yet", stopped


def _described(plan: TunePlan, record: TrialRecord) -> str:
    """Return a configuration on one line, and the load that was found for it."""
    name = "the default" if record.number == 0 else field_values(record.fields)
    return name if record.load is None else f"{name} under {load_value(plan.workload, record.load)}"


def _against_default(
    plan: TunePlan,
    records: Sequence[TrialRecord],
    confirmations: Sequence[Confirmation],
    winner: int,
    deltas: Sequence[Delta],
) -> tuple[str, str]:
    fields = _described(plan, next(record for record in records if record.number == winner))
    default = _role(confirmations, 0)
    if default is None or not deltas:
        missing = "the default could not be measured" if default is None else "no fresh launch confirmed it"
        return f"{fields}: {missing}, so there is nothing to compare", ""
    objective = deltas[0]
    moved = f"{objective.metric} {_interval(objective)} against the default"
    if default.misses_limits and objective.verdict != "incomparable":
        return f"{fields}: meets the constraints, which the default misses; {moved}", ""
    if objective.verdict == "regressed":
        text = f"the winner is worse than the default: {moved}; keep the default"
        return text, text
    return _SENTENCES.get(objective.verdict, _SENTENCES["inconclusive"]).format(
        fields=fields,
        moved=moved,
        reason=objective.reason or "too few launches for a verdict",
        detectable=percent(objective.detectable),
    ), ""


_SENTENCES = {
    "improved": "{fields}: {moved}",
    "descriptive": "{fields}: {moved}; {reason}",
    "incomparable": "{fields}: {moved}, which is no verdict; {reason}",
    "inconclusive": (
        "not distinguishable from the default ({moved}; these launches could have shown a change of {detectable}): "
        "keep the default"
    ),
}


def _interval(delta: Delta) -> str:
    if delta.change is None:
        return "unchanged"
    if delta.low is None or delta.high is None:
        return change(delta.change)
    return f"{change(delta.change)} (95 % interval {change(delta.low)} to {change(delta.high)})"


def _unconfirmed(plan: TunePlan, records: Sequence[TrialRecord], winner: int) -> str:
    best = next(record for record in records if record.number == winner)
    found = metric_value(plan.objective, best.value)
    return f"best of one launch each, not confirmed: {_described(plan, best)} at {found}"


def _nothing_met(plan: TunePlan, records: Sequence[TrialRecord]) -> str:
    measured = [record for record in records if record.metrics]
    if not measured:
        return f"no trial was measured: {failure_classes(records)}"
    closest = min(measured, key=lambda record: _excess(plan, record))
    held = any(record.state == "measured" for record in records)
    when = "when confirmed" if held else "in any trial"
    missed = plan.infeasible(closest.metrics)
    how = (
        f"{missed}, {percent(_excess(plan, closest))} beyond the limit"
        if missed
        else "met in the search, missed by fresh launches"
    )
    return f"nothing met the constraints {when}; closest: {_described(plan, closest)} with {how}"


def _excess(plan: TunePlan, record: TrialRecord) -> float:
    """Return by how much a trial misses the limit that it misses by most, relative to it."""
    return max(plan.violations(record.metrics).values(), default=0.0)


def _run_of(
    confirmations: Sequence[Confirmation],
    records: Sequence[TrialRecord],
    winner: int | None,
    load: Callable[[str], Run],
) -> Run | None:
    """Return a run of the winner: one that confirmed it, else the search's own."""
    if confirmed := _role(confirmations, winner):
        return confirmed.runs[0]
    run_ids = [run_id for record in records if record.number == winner for run_id in record.run_ids]
    return next(filter(None, (_loaded(load, run_id) for run_id in run_ids)), None)


def _command(run: Run | None) -> tuple[str, dict[str, str]]:
    """Return how to start the winner by hand: what the engine itself was started with, on a port of everyday."""
    if run is None:
        return "", {}
    variables: dict[str, Any] = run.environment.get("variables", {})
    return by_hand(run, run.environment.get("command", "")), {
        name: by_hand(run, value) for name, value in variables.items()
    }


def by_hand(run: Run, text: Value) -> str:
    """Return *text* of a launch with a port of everyday in place of the one that it happened to get."""
    port = run.environment.get("port", 0)
    return re.sub(rf"(?<!\d){port}(?!\d)", PORT, str(text)) if port else str(text)
