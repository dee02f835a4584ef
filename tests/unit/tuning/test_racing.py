"""A trial ends after its first requests where they are clearly behind those of the best trial."""

from __future__ import annotations

import math

import pytest
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, Workload, integers
from pytest_msprof.ids import new_id
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.tuning.plan import Slot
from pytest_msprof.tuning.racing import Opening, opening_of, short_of
from pytest_msprof.tuning.trial import Trial

PLACES, TOKENS, TTFT = 4, 11, 0.1
LOAD = Workload(concurrency=PLACES, num_requests=80, output_tokens=TOKENS)
SPACE = SearchSpace(integers("size", 1, 40), default={"size": 20})
START, RUN = 10.0, 60.0


def plan_of(**values):
    return make_plan(SPACE, **{"workload": LOAD, "search": "auto", "n_trials": 14, "seed": 2, **values})


def samples_of(tpot, requests):
    """Return the requests of a closed loop in which every token takes *tpot*."""
    latency = TTFT + (TOKENS - 1) * tpot
    starts = [place // PLACES * latency for place in range(requests)]
    return Samples.of(
        [Sample(due=at, start=at, ttft=TTFT, latency=latency, closed=latency, output_tokens=TOKENS) for at in starts]
    )


def run_of(tpot, workload, study=None, launch="", start=START):
    samples = samples_of(tpot, workload.num_requests)
    throughput = PLACES * TOKENS / (TTFT + (TOKENS - 1) * tpot)
    facts = {"session_id": study.session_id} if study else {}
    run = make_run(
        throughput,
        tpot=tpot,
        workload=workload,
        launch_id=launch or new_id(),
        environment={"ready_after": start},
        **facts,
    )
    return run.with_samples(samples)


def measure(study, *, tpot_of, start=START):
    """Measure what the study asks for; return the trial and how many loads it sent."""
    proposal = study.ask()
    trial = Trial(proposal.fields, proposal.number, study.name, Slot("trial"), study, study.session_id, proposal)
    sent, launch = 0, new_id()
    proposal.asked_at -= start
    for workload in trial.workloads():
        sent += 1
        proposal.asked_at -= RUN * workload.num_requests / LOAD.num_requests
        trial.tell(run_of(tpot_of(proposal.fields["size"]), workload, study, launch, start))
    return trial, sent


def away_from_20(size):
    """Return a time per token that is least at 20: three in four sizes are clearly worse."""
    return 0.02 * (1 + abs(size - 20) / 4)


def test_the_first_requests_are_those_that_end_while_every_place_is_filled():
    short = short_of(plan_of())
    assert (short.concurrency, short.num_requests) == (4, 16)

    whole, cut = (opening_of(run_of(0.02, workload), short) for workload in (LOAD, short))

    assert whole == cut
    assert whole.tpot == pytest.approx(0.02)
    assert whole.output_throughput == pytest.approx(12 * TOKENS / (3 * 0.3))


def test_a_run_without_requests_says_nothing_of_its_beginning():
    short = short_of(plan_of())

    assert opening_of(make_run(1.0), short) is None
    assert opening_of(run_of(0.02, Workload(num_requests=8)), short) is None


def test_a_run_whose_client_was_late_says_nothing_of_its_service():
    late = run_of(0.02, LOAD).model_copy(update={"client_limited": "requests left 40 ms late"})
    assert opening_of(late, short_of(plan_of())) is None


@pytest.mark.parametrize(
    "values",
    [
        {"workload": Workload(concurrency=16, num_requests=80)},
        {"workload": Workload(request_rate=4.0, num_requests=80)},
        {"workload": Workload(concurrency=4, duration=60.0)},
        {"objective": "ttft.p50"},
        {"objective": None, "objectives": ["output_throughput", "ttft.p50"]},
        {"load": "sweep"},
    ],
)
def test_no_short_run_where_it_would_say_nothing_of_the_whole(values):
    assert short_of(plan_of(**values)) is None


def test_only_what_is_behind_in_both_figures_is_left():
    best = Opening(100.0, 0.02)

    assert Opening(60.0, 0.04).is_behind(best)
    assert not Opening(60.0, 0.02).is_behind(best)
    assert not Opening(90.0, 0.04).is_behind(best)
    assert not Opening(60.0, math.nan).is_behind(best)


def test_a_trial_that_is_clearly_behind_ends_with_its_short_run_and_says_why(tmp_path):
    study = make_study(tmp_path, plan_of(subject_to={"ttft.p50": 0.2}))
    trials = [measure(study, tpot_of=away_from_20) for _ in range(12)]

    left = [(trial, sent) for trial, sent in trials if trial.behind]
    assert left
    assert all(sent == 1 for _, sent in left)
    assert {sent for trial, sent in trials[:4]} == {1}
    records = {record.number: record for record in study.records()}
    for trial, _ in left:
        record = records[trial.number]
        assert (record.state, record.value, record.metrics) == ("behind", None, {})
        assert record.reason.startswith("clearly behind trial ")
        assert away_from_20(record.fields["size"]) > 1.5 * 0.02
    assert not {trial.number for trial, _ in left} & set(study.ranking().values())


def test_a_trial_that_may_win_sends_the_whole_load_after_the_short_one(tmp_path):
    study = make_study(tmp_path, plan_of())
    trials = [measure(study, tpot_of=away_from_20) for _ in range(12)]

    both = [trial for trial, sent in trials if sent == 2]
    assert both
    records = {record.number: record for record in study.records()}
    assert all(records[trial.number].state == "measured" for trial in both)
    assert all(len(records[trial.number].run_ids) == 2 for trial in both)


def test_a_run_that_takes_no_longer_than_a_start_is_never_cut_short(tmp_path):
    study = make_study(tmp_path, plan_of())
    trials = [measure(study, tpot_of=away_from_20, start=70.0) for _ in range(12)]

    assert {sent for _, sent in trials} == {1}
    assert not any(trial.behind for trial, _ in trials)


def test_where_hardly_a_trial_is_behind_none_pays_for_a_short_run(tmp_path):
    study = make_study(tmp_path, plan_of())

    assert {measure(study, tpot_of=lambda size: 0.02 + size / 1e4)[1] for _ in range(12)} == {1}


def test_a_study_that_is_resumed_cuts_the_same_trials_short(tmp_path):
    study = make_study(tmp_path / "whole", plan_of())
    whole = [measure(study, tpot_of=away_from_20) for _ in range(12)]

    parts = [measure(make_study(tmp_path / "parts", plan_of()), tpot_of=away_from_20) for _ in range(12)]

    assert [(trial.fields, sent, trial.behind) for trial, sent in parts] == [
        (trial.fields, sent, trial.behind) for trial, sent in whole
    ]


def test_what_was_measured_before_answers_for_the_whole_trial(tmp_path):
    study = make_study(tmp_path, plan_of())
    while not any(sent == 2 or trial.behind for trial, sent in [measure(study, tpot_of=away_from_20)]):
        pass
    proposal = study.ask()
    trial = Trial(proposal.fields, proposal.number, study.name, Slot("trial"), study, study.session_id, proposal)
    assert next(trial.workloads()).num_requests < trial.asked.num_requests == LOAD.num_requests

    trial.answer(run_of(1.0, LOAD))

    assert (trial.told, trial.behind) == (True, "")
    assert study.records()[-1].state == "measured"
