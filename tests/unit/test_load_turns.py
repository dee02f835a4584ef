"""Which request goes when, and the alarm clock that says so."""

from __future__ import annotations

import asyncio
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_plugins.load import alarm
from msprof_plugins.load.alarm import Alarm
from msprof_plugins.load.turns import Turns
from pytest_msprof.requests import Request


def taken(turns: Turns, now: float, *, may_open: bool = True) -> list[int]:
    """Take all that may go now."""
    found = []
    while (one := turns.take(now, may_open=may_open)) is not None:
        found.append(one[0])
    return found


@given(st.lists(st.floats(0, 100), max_size=20).map(sorted), st.lists(st.floats(0, 120), max_size=6).map(sorted))
def test_each_request_goes_once_and_never_before_it_is_due(due, moments):
    turns = Turns([Request()] * len(due), np.array(due), begin=10.0)
    given_at = {number: moment for moment in moments for number in taken(turns, 10.0 + moment)}
    assert list(given_at) == list(range(len(given_at)))
    assert all(10.0 + due[number] <= 10.0 + moment for number, moment in given_at.items())
    last = 10.0 + (moments[-1] if moments else -1.0)
    assert len(given_at) == sum(10.0 + one <= last for one in due)
    assert turns.moment() == (10.0 + due[len(given_at)] if len(given_at) < len(due) else math.inf)


def test_later_turns_wait_for_the_answer_and_the_thought():
    requests = [Request(session=0), Request(session=0, turn=1, think_time=2.0), Request(session=1)]
    turns = Turns(requests, None, begin=0.0)
    assert taken(turns, 0.0) == [0, 2]
    assert turns.is_over(0.0)
    turns.heard(0, 5.0)
    assert (turns.thinking, turns.moment(), taken(turns, 6.9)) == (1, 7.0, [])
    assert taken(turns, 7.0, may_open=False) == [1]
    turns.heard(1, 8.0)
    assert turns.is_over(8.0)


@pytest.mark.parametrize(("answered", "goes"), [(12.0, 15.0), (17.5, 17.5)])
def test_a_later_turn_does_not_go_before_its_own_time_nor_before_the_answer(answered, goes):
    requests = [Request(session=0), Request(session=0, turn=1, earliest=5.0)]
    turns = Turns(requests, np.array([0, np.nan]), begin=10.0)
    assert taken(turns, 10.0) == [0]
    turns.heard(0, answered)
    assert turns.moment() == goes
    assert turns.take(goes) == (1, goes)


def test_without_a_slot_no_talk_begins():
    assert taken(Turns([Request()], None, begin=0.0), 0.0, may_open=False) == []


def test_nothing_goes_after_the_end():
    turns = Turns([Request()] * 3, None, begin=0.0, until=5.0)
    assert turns.take(4.9) is not None
    assert turns.take(5.0) is None
    assert turns.is_over(5.0)


@pytest.mark.parametrize("precise", [True, False])
def test_an_alarm_rings_once_and_not_too_early(monkeypatch, precise):
    if not precise:
        monkeypatch.setattr(alarm, "_timer_file", lambda: (None, -1))

    async def ring() -> tuple[list[float], float]:
        rung, over = [], asyncio.Event()

        def note() -> None:
            rung.append(time.monotonic())
            over.set()

        clock, moment = Alarm(note), time.monotonic() + 0.05
        clock.set(moment + 10.0)
        clock.set(moment)
        await over.wait()
        await asyncio.sleep(0.02)
        clock.set(time.monotonic() + 0.01)
        clock.close()
        await asyncio.sleep(0.03)
        return rung, moment

    rung, moment = asyncio.run(ring())
    assert len(rung) == 1
    assert rung[0] >= moment


@pytest.mark.parametrize("precise", [True, False])
def test_an_alarm_for_a_moment_that_has_passed_rings_at_once(monkeypatch, precise):
    if not precise:
        monkeypatch.setattr(alarm, "_timer_file", lambda: (None, -1))

    async def ring() -> None:
        over = asyncio.Event()
        clock = Alarm(over.set)
        clock.set(time.monotonic() - 1.0)
        await asyncio.wait_for(over.wait(), 10)
        clock.close()

    asyncio.run(ring())
