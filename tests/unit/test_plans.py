"""Whatever is asked: a workload is refused in one line, or makes a plan that holds together."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pytest_msprof import Workload
from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests import Growing, plan
from pytest_msprof.requests.draws import BLOCK

LENGTHS = st.one_of(
    st.integers(0, 40),
    st.builds(
        lambda low, more: {"distribution": "uniform", "low": low, "high": low + more},
        st.integers(1, 9),
        st.integers(-1, 9),
    ),
    st.builds(
        lambda kind, mean, std: {"distribution": kind, "mean": mean, "std": std, "low": 2},
        st.sampled_from(["normal", "lognormal"]),
        st.floats(0.5, 30),
        st.floats(0, 30),
    ),
    st.builds(
        lambda low, high: {"distribution": "histogram", "bins": [[low, high, 1]]}, st.integers(1, 9), st.integers(1, 9)
    ),
)
STAGES = st.builds(
    lambda name, values, ramp: {name: values, "seconds": 0.5, "ramp": ramp},
    st.sampled_from(["request_rate", "concurrency"]),
    st.lists(st.integers(0, 30), min_size=1, max_size=3),
    st.booleans(),
)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "input_tokens": LENGTHS,
    "output_tokens": LENGTHS,
    "concurrency": st.integers(0, 8),
    "request_rate": st.one_of(st.floats(-1, 0), st.floats(0.01, 50), st.floats(0.01, 50)),
    "arrival": st.sampled_from(["poisson", "constant", "gamma", "burst"]),
    "burstiness": st.floats(0.1, 4),
    "stages": STAGES,
    "num_requests": st.one_of(st.none(), st.integers(1, 60)),
    "duration": st.floats(-0.5, 3),
    "warmup": st.integers(0, 4),
    "prefixes": st.builds(
        lambda number, tokens: {"number": number, "tokens": tokens}, st.integers(1, 3), st.integers(1, 6)
    ),
    "sessions": st.builds(lambda turns, think: {"turns": turns, "think_time": think}, LENGTHS, st.floats(0, 2)),
    "models": st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 3)),
    "seed": st.integers(0, 9),
}


@settings(max_examples=300)
@given(st.fixed_dictionaries({}, optional=PARTS), st.integers(0, 2))
def test_a_workload_is_refused_in_one_line_or_makes_a_plan_that_holds_together(asked, repeat):
    refusal, planned = "", None
    try:
        workload = Workload(**asked)
        planned = plan(workload, tokenizer=None, repeat=repeat)
    except InvalidWorkload as error:
        refusal = str(error)
    event("refused" if refusal else "planned")
    assert "\n" not in refusal
    if planned is None:
        assert refusal
        return
    requests = list(islice(iter(planned.requests), 3 * BLOCK // 2))
    assert len(planned.warm_up) == workload.warmup
    assert (
        isinstance(planned.requests, Growing) or workload.num_requests is None or len(requests) <= workload.num_requests
    )
    _times_hold_together(workload, planned, requests)
    talks = [(request.session, request.turn) for request in requests if request.session >= 0]
    assert talks == sorted(talks)
    assert bool(talks) == (bool(workload.sessions) and bool(requests))
    texts = [request.prompt for request in (*planned.warm_up, *requests)]
    assert len(set(texts)) == len(texts)
    assert all(len(request.prompt.split()) == request.input_tokens for request in requests)
    assert {request.model for request in requests} <= (set(workload.models) or {""})


def _times_hold_together(workload, planned, requests) -> None:
    assert (planned.due is None) == (not workload.is_open)
    if planned.due is None:
        return
    assert len(planned.due) == len(requests)
    firsts = planned.due[[request.turn == 0 for request in requests]]
    assert np.isnan(planned.due).sum() == len(requests) - len(firsts)
    assert np.all(np.diff(firsts) >= 0)
    if len(firsts) and workload.arrival != "burst":
        assert firsts[0] == 0
        assert workload.duration is None or firsts[-1] < workload.duration


@settings(max_examples=100)
@given(st.fixed_dictionaries({}, optional=PARTS))
def test_a_workload_that_went_through_json_asks_the_same(asked):
    try:
        workload = Workload(**asked)
        first = plan(workload, tokenizer=None)
    except InvalidWorkload:
        return
    again = Workload.model_validate_json(workload.model_dump_json())
    second = plan(again, tokenizer=None)
    assert (again, again.hash()) == (workload, workload.hash())
    assert list(islice(iter(second.requests), 50)) == list(islice(iter(first.requests), 50))
    assert np.array_equal(first.due, second.due, equal_nan=True) if first.due is not None else second.due is None
