"""The items of a study: which trial is next, what its test came to, and the conclusion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof.collection import FACTS, case_of, is_worker, plan_of, slot_of
from pytest_msprof.errors import ConfigurationError, LoadError, ServiceError
from pytest_msprof.hardware import device_kind
from pytest_msprof.sessions import session_of
from pytest_msprof.tuning.opening import Identity, open_study
from pytest_msprof.tuning.outcome import Outcome, conclude
from pytest_msprof.tuning.study import Exhausted, TuneStudy
from pytest_msprof.tuning.trial import Trial

if TYPE_CHECKING:
    from pytest_msprof.interfaces import SimulatorInterface
    from pytest_msprof.session import MsprofSession
    from pytest_msprof.space import SearchSpace
    from pytest_msprof.summary import StudySummary
    from pytest_msprof.tuning.plan import Slot

__all__ = ["conclude_item", "next_trial", "reopened", "settle"]

PATIENCE = 0.2
"""Seconds between two looks at the trials of other workers."""


def next_trial(
    session: MsprofSession, item: pytest.Function, slot: Slot, engine: str, simulator: type[SimulatorInterface]
) -> Trial:
    """Return what this item measures; skips where nothing is left to measure."""
    study = _study(session, item, engine, simulator)
    if slot.kind == "result":
        return Trial(fields={}, number=-1, study=study.name, slot=slot, _study=study, _session=session.id, told=True)
    if (again := session.trials.get(item.nodeid)) is not None:
        return again
    made = _proposed(session, study, slot) if slot.kind == "trial" else _confirming(session, item, study, slot)
    session.trials[item.nodeid] = made
    return made


def _proposed(session: MsprofSession, study: TuneStudy, slot: Slot) -> Trial:
    if slot.index < study.answered:
        record = study.records()[slot.index]
        pytest.skip(f"answered from study {study.name}: trial {record.number}, {record.reason or record.state}")
    minutes = study.plan.minutes
    if minutes is not None and time.monotonic() - session.started > minutes * 60:
        pytest.skip(f"left over: the budget of {minutes:g} minutes ended")
    try:
        proposal = study.ask()
    except Exhausted as reason:
        pytest.skip(f"left over: {reason}")
    return Trial(
        fields=proposal.fields,
        number=proposal.number,
        study=study.name,
        slot=slot,
        _study=study,
        _session=session.id,
        _proposal=proposal,
    )


def _confirming(session: MsprofSession, item: pytest.Item, study: TuneStudy, slot: Slot) -> Trial:
    _wait_for_others(session, item, study)
    ranking = study.ranking()
    if slot.role != "default" and ranking.get(slot.role) == ranking.get("default"):
        pytest.skip(f"the {slot.role} is the default")
    number = ranking.get(slot.role)
    if number is None:
        pytest.skip(
            f"there is no {slot.role}: nothing met the constraints" if slot.role == "winner" else f"no {slot.role}"
        )
    fields = next(record.fields for record in study.records() if record.number == number)
    return Trial(fields=fields, number=number, study=study.name, slot=slot, _study=study, _session=session.id)


def _wait_for_others(session: MsprofSession, item: pytest.Item, study: TuneStudy) -> None:
    """Let the trials of other workers end before anything is confirmed; the slot is theirs meanwhile."""
    if not is_worker(item.config):
        return
    planned = _planned_trials(item)
    deadline = time.monotonic() + PATIENCE * 50
    while study.is_busy() or (len(study.records()) < planned and time.monotonic() < deadline):
        session.pool.close()
        if study.is_busy():
            deadline = time.monotonic() + PATIENCE * 50
        time.sleep(PATIENCE)


def _planned_trials(item: pytest.Item) -> int:
    slots = [slot_of(other) for other in item.session.items if case_of(other) == case_of(item)]
    return sum(1 for slot in slots if slot is not None and slot.kind == "trial")


def _study(
    session: MsprofSession, item: pytest.Function, engine: str, simulator: type[SimulatorInterface]
) -> TuneStudy:
    case = case_of(item)
    if case not in session.studies:
        plan = plan_of(item)
        _check_fields(session, plan.space)
        identity = Identity(
            case=case,
            engine=engine,
            version=session.operator(simulator).engine_version(),
            model=session.model_digest,
            hardware="elsewhere" if session.options.base_url else device_kind(),
        )
        worker = getattr(item.config, "workerinput", {}).get("workerid", "gw0")
        session.studies[case], note = open_study(
            session.options.folder / "studies",
            identity,
            plan,
            session_id=session.id,
            explicit=session.options.study,
            fresh=session.options.fresh,
            worker=int(worker.removeprefix("gw") or 0),
        )
        if note:
            item.stash.setdefault(FACTS, {})["note"] = note
    facts = item.stash.setdefault(FACTS, {})
    facts["study"] = case
    return session.studies[case]


def _check_fields(session: MsprofSession, space: SearchSpace) -> None:
    if not session.options.base_url:
        return
    server_side = [entry.name for entry in space if not session.is_load_side(entry.name)]
    if server_side:
        raise ConfigurationError(
            f"a running service (--msprof-base-url) cannot be tuned in {', '.join(server_side)}: "
            "only load-side fields, CONCURRENCY and REQUESTRATE, can change"
        )


@contextmanager
def settle(item: pytest.Function) -> Iterator[None]:
    """Turn what the body of a trial item did into its outcome.

    Measured passes; infeasible, crashed and unanswered skip with the reason; a body that never
    told fails.
    """
    funcargs: dict[str, Any] = item.funcargs
    trial: Trial = funcargs["trial"]
    try:
        yield
    except (ServiceError, LoadError) as error:
        trial.fail(error)
        facts = item.stash.setdefault(FACTS, {})
        facts["log_tail"] = getattr(error, "log_tail", "")
        _tell_hooks(item, trial)
        pytest.skip(f"{getattr(error, 'failure', 'client errors')}: {error}")
    if not trial.told:
        pytest.fail(f"the body of {item.name} never called trial.tell(run)", pytrace=False)
    if trial.slot.kind == "result":
        return
    _tell_hooks(item, trial)
    if trial.infeasible:
        pytest.skip(f"infeasible: {trial.infeasible}")


def _tell_hooks(item: pytest.Function, trial: Trial) -> None:
    if trial.slot.kind != "trial":
        return
    study = session_of(item.config).studies[case_of(item)]
    record = next((found for found in study.records() if found.number == trial.number), None)
    if record is not None:
        item.ihook.pytest_msprof_trial_finished(study=study.name, trial=record)


def conclude_item(item: pytest.Function) -> None:
    """Run the `[result]` item: fail when there is no winner, or it is worse than the default."""
    session = session_of(item.config)
    study = session.studies[case_of(item)]
    _wait_for_others(session, item, study)
    outcome = _outcome(session, study)
    item.user_properties.append(("msprof.verdict", outcome.summary.verdict))
    facts = item.stash.setdefault(FACTS, {})
    facts["summary"] = outcome.summary.model_dump(mode="json")
    if outcome.failure:
        pytest.fail(outcome.failure, pytrace=False)


def _outcome(session: MsprofSession, study: TuneStudy) -> Outcome:
    return conclude(study, session.id, session.store.load)


def reopened(session: MsprofSession) -> tuple[StudySummary, ...]:
    """Return the studies of this process as they stand, finished or not."""
    return tuple(_outcome(session, study).summary for study in session.studies.values())
