"""Talks carry what was really said, and keep the shape that was asked for."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof import Lengths, Sessions, Workload
from pytest_msprof.requests import Request, Talk, plan


def test_each_turn_carries_the_turns_and_the_answers_before_it():
    talk = Talk()
    first = talk.ask(Request("one", session=3))
    talk.hear("a thing")
    second = talk.ask(Request("two", session=3, turn=1))
    talk.hear("another")
    third = talk.ask(Request("three", session=3, turn=2, output_tokens=9))
    assert first == Request("one", session=3)
    assert [message["content"] for message in second.messages] == ["one", "a thing", "two"]
    assert [message["role"] for message in third.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert third.prompt == "onea thing\ntwoanother\nthree"
    assert (third.turn, third.output_tokens, third.input_tokens) == (2, 9, -1)


def test_given_messages_are_kept_as_they_are():
    system = {"role": "system", "content": "be brief"}
    parts = {"role": "user", "content": [{"type": "text", "text": "look"}]}
    talk = Talk()
    talk.ask(Request("look", messages=(system, parts)))
    talk.hear("yes")
    second = talk.ask(Request("and now", turn=1))
    assert second.messages[:2] == (system, parts)


@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 4), st.integers(0, 99))
def test_talks_have_as_many_turns_as_were_drawn_and_the_last_may_be_cut(number, low, more, seed):
    workload = Workload(num_requests=number, seed=seed, sessions=Sessions(turns=Lengths.uniform(low, low + more)))
    requests = plan(workload, tokenizer=None).requests
    assert len(requests) == number
    talks = [list(turns) for _, turns in groupby(requests, key=lambda request: request.session)]
    assert [talk[0].session for talk in talks] == list(range(len(talks)))
    assert all([request.turn for request in talk] == list(range(len(talk))) for talk in talks)
    assert all(low <= len(talk) <= low + more for talk in talks[:-1])
    assert len(talks[-1]) <= low + more


def test_think_times_have_their_mean_and_the_first_turn_has_none():
    sessions = Sessions(turns=101, think_time=2.0, thinking="exponential")
    requests = plan(Workload(num_requests=2020, sessions=sessions), tokenizer=None).requests
    times = np.array([request.think_time for request in requests if request.turn])
    assert {request.think_time for request in requests if not request.turn} == {0.0}
    assert times.mean() == pytest.approx(2.0, rel=0.1)
    assert times.std() == pytest.approx(2.0, rel=0.1)


def test_a_talk_stays_with_its_model():
    workload = Workload(num_requests=60, models={"a": 1, "b": 1}, sessions=Sessions(turns=3))
    requests = plan(workload, tokenizer=None).requests
    models = {(request.session, request.model) for request in requests}
    assert len(models) == 20
    assert {model for _, model in models} == {"a", "b"}
