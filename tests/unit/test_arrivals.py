"""When requests are due: at the rate, in the distribution and for the time that were asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests import plan
from pytest_msprof.requests.arrivals import arrivals, stages_of
from pytest_msprof.requests.stream import Stream
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Sessions, Stages

RATES = st.lists(st.floats(0.5, 200), min_size=2, max_size=5)


def due_of(number=None, **workload):
    made = Workload(**workload)
    return arrivals(made, number, Stream(made.seed))


def test_a_closed_loop_has_no_schedule():
    assert due_of(8, concurrency=4) is None


@pytest.mark.parametrize(
    ("shape", "deviation"),
    [
        ({"arrival": "poisson"}, 1.0),
        ({"arrival": "constant"}, 0.0),
        ({"arrival": "gamma", "burstiness": 1.0}, 1.0),
        ({"arrival": "gamma", "burstiness": 0.25}, 2.0),
        ({"arrival": "gamma", "burstiness": 4.0}, 0.5),
    ],
)
def test_arrivals_keep_the_rate_and_scatter_as_their_distribution_does(shape, deviation):
    due = due_of(20_000, request_rate=20.0, seed=1, **shape)
    gaps = np.diff(due)
    assert due[0] == 0
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.05)
    assert gaps.std() == pytest.approx(deviation / 20, rel=0.05, abs=1e-9)


def test_a_burst_is_due_at_once():
    assert due_of(5, arrival="burst").tolist() == [0] * 5
    with pytest.raises(InvalidWorkload, match="a burst needs num_requests"):
        due_of(arrival="burst", duration=1.0)


def test_arrivals_differ_between_repeats_and_not_between_calls():
    workload = Workload(request_rate=20.0)
    assert np.array_equal(arrivals(workload, 10, Stream(0, 1)), arrivals(workload, 10, Stream(0, 1)))
    assert not np.array_equal(arrivals(workload, 10, Stream(0, 1)), arrivals(workload, 10, Stream(0, 2)))


@given(st.integers(1, 300), st.integers(0, 300), st.sampled_from(["poisson", "constant", "gamma"]))
def test_more_arrivals_begin_with_those_of_fewer(few, more, arrival):
    workload = Workload(request_rate=7.0, arrival=arrival, burstiness=0.5)
    assert np.array_equal(arrivals(workload, few, Stream(0)), arrivals(workload, few + more, Stream(0))[:few])


@given(st.floats(0.01, 50), st.floats(0.5, 100))
def test_a_duration_ends_the_schedule_and_leaves_no_hole_before(duration, rate):
    due = due_of(request_rate=rate, duration=duration)
    longer = due_of(request_rate=rate, duration=2 * duration)
    assert due[-1] < duration
    assert np.array_equal(longer[longer < duration], due)


@given(RATES, st.floats(0.5, 20), st.booleans())
def test_under_changing_rates_the_work_done_is_what_the_rates_add_up_to(rates, seconds, ramp):
    stages = Stages(request_rate=tuple(rates), seconds=seconds, ramp=ramp)
    due = due_of(stages=stages, arrival="constant")
    assert np.all(np.diff(due) > 0)
    assert due[-1] < stages.duration
    fine = np.linspace(0, stages.duration, 200_001)
    rate = (
        np.interp(fine, np.arange(len(rates)) * seconds, rates)
        if ramp
        else np.array(rates)[np.minimum((fine / seconds).astype(int), len(rates) - 1)]
    )
    done = np.concatenate(([0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(fine))))
    assert np.interp(due, fine, done) == pytest.approx(np.arange(len(due)), abs=0.02 + 1e-4 * len(due))
    assert abs(done[-1] - len(due)) < 1.02 + 1e-4 * len(due)


def test_steps_of_concurrency_follow_one_another():
    assert stages_of(Stages(concurrency=(1, 8, 4), seconds=5)) == [(0, 1), (5, 8), (10, 4)]


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.floats(0.5, 10))
def test_a_ramp_of_concurrency_comes_by_every_number_between(values, seconds):
    found = stages_of(Stages(concurrency=tuple(values), seconds=seconds, ramp=True))
    assert found[0] == (0, values[0])
    assert found[-1].concurrency == values[-1]
    assert all(abs(late.concurrency - early.concurrency) == 1 for early, late in pairwise(found))
    assert all(early.start < late.start for early, late in pairwise(found))
    assert found[-1].start <= seconds * (len(values) - 1) * (1 + 1e-9)


def test_stages_of_concurrency_are_a_closed_loop_that_ends():
    workload = Workload(stages=Stages(concurrency=(1, 8), seconds=5))
    planned = plan(workload, tokenizer=None)
    assert (workload.is_open, workload.duration, workload.num_requests) == (False, 10, None)
    assert (planned.due, planned.concurrency, list(planned.stages)) == (None, 8, [(0, 1), (5, 8)])


def test_a_rate_may_be_capped_by_a_concurrency():
    planned = plan(Workload(request_rate=5.0, concurrency=3, num_requests=4), tokenizer=None)
    assert len(planned.due) == 4
    assert planned.concurrency == 3


def test_the_first_turn_of_a_talk_has_a_time_and_the_others_come_after_it():
    workload = Workload(request_rate=5.0, num_requests=7, sessions=Sessions(turns=3, think_time=1.5))
    planned = plan(workload, tokenizer=None)
    places = [(request.session, request.turn, request.think_time) for request in planned.requests]
    assert places == [(0, 0, 0), (0, 1, 1.5), (0, 2, 1.5), (1, 0, 0), (1, 1, 1.5), (1, 2, 1.5), (2, 0, 0)]
    assert np.isnan(planned.due).tolist() == [False, True, True, False, True, True, False]


def test_a_duration_counts_talks_begun_in_time_and_all_their_turns():
    workload = Workload(request_rate=5.0, arrival="constant", duration=1.0, sessions=Sessions(turns=2))
    planned = plan(workload, tokenizer=None)
    assert [request.session for request in planned.requests] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert planned.due[::2] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
