"""The items of a study: which trial is next, what its test came to, and the conclusion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof.best_file import with_config_file, write_best
from pytest_msprof.collection import FACTS, case_of, engine_of, plan_of, slot_of
from pytest_msprof.errors import LoadError, MetricMissing, ServiceError, StoreError
from pytest_msprof.known_runs import Condition
from pytest_msprof.requests import tokenizer_digest
from pytest_msprof.service import bind
from pytest_msprof.sessions import session_of
from pytest_msprof.tuning.opening import Identity, find_study, open_study
from pytest_msprof.tuning.outcome import Outcome, conclude
from pytest_msprof.tuning.progress import progress_lines
from pytest_msprof.tuning.samplers import ANYWHERE, Offer, make_sampler
from pytest_msprof.tuning.study import Exhausted, Spent, TuneStudy
from pytest_msprof.tuning.trial import Trial
from pytest_msprof.workers import measured_at_once, wait_for_others

if TYPE_CHECKING:
    from pytest_msprof.interfaces import SimulatorInterface
    from pytest_msprof.results import Run
    from pytest_msprof.session import MsprofSession
    from pytest_msprof.space import SearchSpace
    from pytest_msprof.summary import StudySummary
    from pytest_msprof.tuning.plan import Slot, TunePlan

__all__ = ["check_studies", "conclude_item", "next_trial", "reopened", "settle"]

ENDS_SESSION = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)
"""What ends a test through no fault of its configuration, which is tried again."""


def next_trial(
    session: MsprofSession, item: pytest.Function, slot: Slot, engine: str, simulator: type[SimulatorInterface]
) -> Trial:
    """Return what this item measures; skips where nothing is left to measure."""
    study = _study(session, item, engine, simulator)
    if slot.kind == "trial" and (why := _why_vain(study)):
        pytest.skip(f"left over: {why}")
    if slot.kind == "result":
        return Trial(fields={}, number=-1, study=study.name, slot=slot, _study=study, _session=session.id, told=True)
    again = session.trials.get(item.nodeid)
    if again is not None and not again.released:
        again.begin_again()
        return again
    made = _proposed(session, study, slot) if slot.kind == "trial" else _confirming(session, item, study, slot)
    session.trials[item.nodeid] = made
    made.begin()
    if slot.kind == "trial" and (known := _measured_before(session, made, engine, simulator)) is not None:
        made.answer(known)
        _tell_hooks(item, made)
        pytest.skip(f"answered from run {known.id} of {known.started_at:%Y-%m-%d}: {made.infeasible or 'measured'}")
    _say_where(session, item, study, made)
    return made


def _say_where(session: MsprofSession, item: pytest.Function, study: TuneStudy, trial: Trial) -> None:
    """Tell the user which configuration is measured now; a worker's line goes to the controller with its report."""
    if item.config.get_verbosity() < 0:
        return
    lines = progress_lines(
        study.plan,
        trial.slot,
        trial.number,
        trial.fields,
        study.records(),
        confirmed=sum(map(len, study.confirmations.of(study.confirming()).values())),
        elapsed=study.searched(),
        at_once=measured_at_once(item.config, session.options.devices),
    )
    item.stash.setdefault(FACTS, {})["progress"] = lines
    session.say(lines)


def _measured_before(
    session: MsprofSession, trial: Trial, engine: str, simulator: type[SimulatorInterface]
) -> Run | None:
    """Return a run of the same configuration that another study left, None where there is none that can answer."""
    if session.options.fresh or session.options.base_url or not trial.is_repeatable:
        return None
    operator = session.operator(simulator)
    condition = Condition(
        engine=engine,
        version=operator.engine_version(),
        fields=session.server_side(trial.fields),
        load_generator=session.options.load,
        load_fields=session.own_load_fields(trial.fields),
        workload_hash=trial.asked.hash(tokenizer_digest(operator.tokenizer_path)),
        model_digest=session.model_digest,
        device=session.device,
        hardware=session.hardware,
    )
    found = session.known_runs.find(condition)
    return found if found is not None and trial.can_learn_from(found) else None


def _proposed(session: MsprofSession, study: TuneStudy, slot: Slot) -> Trial:
    if slot.index < study.answered:
        pytest.skip(f"answered from study {study.attributes.get('case', study.name)}")
    minutes = study.plan.minutes
    if minutes is not None and slot.index and study.searched() > minutes * 60:
        study.end(f"the budget of {minutes:g} minutes ended")
        pytest.skip(f"left over: the budget of {minutes:g} minutes ended")
    if study.confirmations.have_begun(study.confirming()):
        pytest.skip("left over: its worker died, and what was found by then is being confirmed")
    try:
        proposal = study.ask()
    except Spent as reason:
        pytest.skip(f"left over: {reason}")
    except Exhausted as reason:
        study.end(str(reason))
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
    wait_for_others(session, item, slot, study)
    ranking = study.ranking()
    number = ranking.get(slot.role)
    if "winner" not in ranking:
        pytest.skip("there is no winner to confirm: nothing met the constraints")
    if number is None:
        pytest.skip("the default could not be measured" if slot.role == "default" else f"there is no {slot.role}")
    if slot.role not in study.to_confirm():
        pytest.skip(f"the {slot.role} is the default")
    confirming = study.go_on_confirming()
    told = study.confirmations.told(confirming, slot.role, slot.index)
    if "failure" in told or session.store.exists(told.get("run", "")):
        pytest.skip(f"answered from study {study.attributes.get('case', study.name)}")
    fields = next(record.fields for record in study.records() if record.number == number)
    return Trial(fields=fields, number=number, study=study.name, slot=slot, _study=study, _session=confirming)


def _study(
    session: MsprofSession, item: pytest.Function, engine: str, simulator: type[SimulatorInterface]
) -> TuneStudy:
    case = case_of(item)
    if case not in session.studies:
        plan = _plan(session, item, simulator)
        worker = getattr(item.config, "workerinput", {}).get("workerid", "gw0")
        session.studies[case], note = open_study(
            session.shelf,
            _identity(session, case, engine, simulator),
            plan,
            session_id=session.id,
            explicit=session.options.study,
            fresh=session.options.fresh,
            worker=int(worker.removeprefix("gw") or 0),
            offer=_plugins(item),
            is_load_side=lambda name: session.is_load_side(name) or plan.space[name].live,
        )
        if note:
            item.stash.setdefault(FACTS, {})["note"] = note
    facts = item.stash.setdefault(FACTS, {})
    facts["study"] = case
    return session.studies[case]


def _plan(session: MsprofSession, item: pytest.Item, simulator: type[SimulatorInterface]) -> TunePlan:
    """Return what the item's mark asks for, of this model and with what the engine says about its fields."""
    return plan_of(item).for_model(session.options.model or "").for_engine(session.operator(simulator).data_field)


def _identity(session: MsprofSession, case: str, engine: str, simulator: type[SimulatorInterface]) -> Identity:
    return Identity(
        case=case,
        engine=engine,
        version=session.operator(simulator).engine_version(),
        model=session.model_digest,
        hardware=session.hardware,
    )


def check_studies(session: MsprofSession, items: Sequence[pytest.Item]) -> None:
    """Raise `ConfigurationError` for a study that could not be made or resumed.

    That is one with a search that nobody knows, with fields that its engine does not have, on device
    slots that differ, or one that was named and answers another question.
    """
    found = {
        case_of(item): (item, engine) for item in items if slot_of(item) is not None and (engine := engine_of(item))
    }
    if found and not session.config.option.collectonly:
        session.check_slots()
    for item, engine in found.values():
        simulator = session.registry.simulators.get(engine)
        plan = _plan(session, item, simulator)
        if plan.search not in ANYWHERE:
            make_sampler(plan.search, seed=plan.seed, plan=plan, offer=_plugins(item))
        _check_fields(session, plan.space, engine, simulator)
        if session.options.study and not item.config.option.collectonly:
            identity = _identity(session, case_of(item), engine, simulator)
            find_study(session.shelf, identity, plan, explicit=session.options.study, fresh=session.options.fresh)


def _plugins(item: pytest.Item) -> Offer:
    """Return how to ask the plugins above *item* for a sampler."""

    def offer(name: str, seed: int, constraints: tuple[str, ...]) -> Any:
        return item.ihook.pytest_msprof_sampler(name=name, seed=seed, constraints=constraints)

    return offer


def _check_fields(session: MsprofSession, space: SearchSpace, engine: str, simulator: type[SimulatorInterface]) -> None:
    if server_side := session.server_side({entry.name: entry for entry in space}):
        bind(dict.fromkeys(server_side), session.operator(simulator).data_field, server_side, engine)


@contextmanager
def settle(item: pytest.Function) -> Iterator[None]:
    """Turn what the body of a trial item did into its outcome.

    Measured passes; infeasible, crashed and unanswered skip with the reason; a body that never
    told fails, and so does a metric that is missing or a study that cannot be written.
    """
    try:
        with _settled(item):
            yield
    except StoreError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@contextmanager
def _settled(item: pytest.Function) -> Iterator[None]:
    funcargs: dict[str, Any] = item.funcargs
    trial: Trial = funcargs["trial"]
    try:
        yield
    except (ServiceError, LoadError) as error:
        trial.fail(error)
        facts = item.stash.setdefault(FACTS, {})
        facts["log_tail"] = getattr(error, "log_tail", "")
        _tell_hooks(item, trial)
        if trial.measured:
            return
        pytest.skip(f"{getattr(error, 'failure', 'client errors')}: {error}")
    except MetricMissing as error:
        _mark_unmeasured(item, trial, error)
        raise
    except BaseException as error:
        trial.release(again=isinstance(error, ENDS_SESSION))
        raise
    trial.conclude()
    if not trial.told:
        trial.release()
        pytest.fail(f"the body of {item.name} never called trial.tell(run)", pytrace=False)
    if trial.slot.kind == "result":
        return
    _tell_hooks(item, trial)
    if trial.behind:
        pytest.skip(trial.behind)
    if trial.infeasible:
        pytest.skip(f"infeasible: {trial.infeasible}")


def _mark_unmeasured(item: pytest.Function, trial: Trial, error: MetricMissing) -> None:
    """Let nobody measure again what lacks a metric: this configuration, or all of them where none had it so far."""
    study = session_of(item.config).studies[case_of(item)]
    if trial.slot.kind == "trial" and any(record.metrics for record in study.records()):
        trial.fail(error)
        _tell_hooks(item, trial)
        return
    trial.release()
    if trial.slot.kind == "trial":
        study.end(f"nothing could be measured: {error}")


def _why_vain(study: TuneStudy) -> str:
    """Say what a run lacked that the study asks for, where every other trial would lack it too; empty elsewhere."""
    return "" if study.records() else study.why_ended()


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
    if slot := slot_of(item):
        wait_for_others(session, item, slot, study)
    outcome = _outcome(session, study)
    write_best(session.options.folder, outcome.summary)
    item.user_properties.append(("msprof.verdict", outcome.summary.verdict))
    facts = item.stash.setdefault(FACTS, {})
    facts["summary"] = outcome.summary.model_dump(mode="json")
    if outcome.failure:
        pytest.fail(outcome.failure, pytrace=False)


def _outcome(session: MsprofSession, study: TuneStudy) -> Outcome:
    found = conclude(study, study.confirming(), session.store.load)
    return found._replace(summary=with_config_file(found, session.options.folder))


def reopened(session: MsprofSession) -> tuple[StudySummary, ...]:
    """Return the studies of this process as they stand, finished or not."""
    return tuple(_outcome(session, study).summary for study in session.studies.values())
