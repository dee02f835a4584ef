"""Answers agree up to the first token in which they differ."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.interfaces import Target
from pytest_msprof.probe import OUTPUT_TOKENS, PROMPTS, agreement, ask_probes
from pytest_msprof.testing import FakeEngine

answers = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=4)


def service_of(engine):
    target = Target(base_url=engine.base_url, model=engine.model)
    return SimpleNamespace(
        engine="fake",
        base_url=engine.base_url,
        model=engine.model,
        target=target,
        check=lambda patience: None,
        log_tail=lambda: "the end of its log",
    )


@given(answers)
def test_answers_agree_with_themselves(reference):
    assert agreement(reference, reference) == 1.0


@given(answers, st.data())
def test_nothing_behind_the_first_difference_counts(reference, data):
    place = data.draw(st.integers(0, len(reference) - 1))
    at = data.draw(st.integers(0, len(reference[place]) - 1))
    other = [list(row) for row in reference]
    other[place][at] = 9

    lost = len(reference[place]) - at

    assert agreement(reference, other) == pytest.approx(1 - lost / sum(map(len, reference)))


def test_longer_and_empty_answers_do_not_agree():
    assert agreement([[1, 2]], [[1, 2, 3, 4]]) == 0.5
    assert agreement([[]], [[]]) == 0.0


def test_every_prompt_is_asked_greedily_for_the_same_number_of_tokens():
    with FakeEngine(ttft=0, itl=0, record=True) as engine:
        found = ask_probes(service_of(engine))
        bodies = [row["body"] for row in engine._get("/record")]

    assert found == [["token"] * OUTPUT_TOKENS] * len(PROMPTS)
    assert [body["prompt"] for body in bodies] == list(PROMPTS)
    assert len(set(PROMPTS)) == len(PROMPTS)


def test_a_service_that_refuses_says_so_with_its_log():
    with FakeEngine(fail_every=1) as engine, pytest.raises(LoadError, match="was refused with 500") as caught:
        ask_probes(service_of(engine))

    assert caught.value.log_tail == "the end of its log"


def test_a_service_without_completions_and_chat_is_told_how_to_leave_it_out():
    with (
        FakeEngine(fail_every=1, fail="http404") as engine,
        pytest.raises(ConfigurationError, match=r"'agreement': None"),
    ):
        ask_probes(service_of(engine))
