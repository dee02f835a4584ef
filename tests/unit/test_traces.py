"""Replaying recorded loads: times, lengths and shared beginnings as the file tells them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests import Growing, output_tokens, plan, planning
from pytest_msprof.requests.recorded import Recorded
from pytest_msprof.requests.traces import read_trace
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2225670,879,55
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,API log
"""
BURSTGPT_TALKS = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82,43,GPT-4,90,40,130,Conversation log
19440120.0,,2,ChatGPT,36,29,65,API log
19440161.0,1722ac82,3,GPT-4,150,20,170,Conversation log
19440170.0,1722ac82,3,GPT-4,30,10,40,Conversation log
19440199.0,1722ac82,3,GPT-4,55,10,65,Conversation log
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


@pytest.fixture
def written(tmp_path):
    def written(text: str, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


def mooncake(*rows: tuple[int, int, int, list[int]]) -> str:
    names = ("timestamp", "input_length", "output_length", "hash_ids")
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)


def test_azures_dates_have_seven_digits_after_the_second(written):
    rows = list(read_trace(Trace(path=written(AZURE))))
    assert [row[1:3] for row in rows] == [(374, 44), (396, 109), (879, 55)]
    assert [row.at for row in rows] == pytest.approx([0, 4.314579, 4.541977], abs=1e-6)


def test_burstgpts_failed_requests_are_left_out(written):
    assert list(read_trace(Trace(path=written(BURSTGPT)))) == [Recorded(0, 472, 18), Recorded(113, 417, 276)]


def test_mooncakes_time_stamps_are_milliseconds_and_need_no_order(written):
    path = written(mooncake((3000, 10, 4, []), (1500, 20, 5, [7])))
    assert list(read_trace(Trace(path=path))) == [Recorded(0, 20, 5, (7,)), Recorded(1.5, 10, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with '', which is no trace of Mooncake, Azure or BurstGPT"),
        ("time,tokens\n1,2\n", "begins with 'time,tokens', which is no trace"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "has no answered request in it"),
        (BURSTGPT.replace("472", "many"), "line 2: no request of a trace"),
        (AZURE.replace("2023-11-16 18:15:50", "yesterday"), "line 3: no request of a trace"),
        ('{"timestamp": 0, "output_length": 4}\n', "line 1: no request of a trace (KeyError('input_length'))"),
        ('{"timestamp": 0, ', "line 1: no request of a trace"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_place(written, text, message):
    with pytest.raises(InvalidWorkload) as caught:
        read_trace(Trace(path=written(text)))
    assert message in str(caught.value)


def test_a_missing_trace_is_refused_by_its_name(tmp_path):
    with pytest.raises(InvalidWorkload, match=r"cannot read the trace .*nothing.csv"):
        plan(Workload(trace=Trace(path=tmp_path / "nothing.csv")), tokenizer=None)


def test_a_replay_keeps_times_and_lengths(written, model):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    workload = Workload(trace=Trace(path=written(AZURE), time_scale=0.5))
    planned = plan(workload, tokenizer=model)
    assert workload.is_open
    assert planned.due.tolist() == pytest.approx([0, 2.1572895, 2.2709885], abs=1e-6)
    assert [len(tokenizer.encode(request.prompt).ids) for request in planned.requests] == [374, 396, 879]
    assert [request.output_tokens for request in planned.requests] == [44, 109, 55]


def test_a_replay_ends_by_number_or_by_time(written):
    path = written(AZURE)
    assert len(plan(Workload(trace=Trace(path=path), num_requests=2), tokenizer=None).requests) == 2
    assert len(plan(Workload(trace=Trace(path=path), duration=4.4), tokenizer=None).requests) == 2
    assert len(plan(Workload(trace=Trace(path=path, time_scale=0.1), duration=4.4), tokenizer=None).requests) == 3


@pytest.mark.parametrize("replay", ["times", "lengths"])
def test_a_trace_with_too_few_requests_is_refused(written, replay):
    with pytest.raises(InvalidWorkload, match=r"5 requests were wanted, but the trace .* has 3"):
        plan(Workload(trace=Trace(path=written(AZURE), replay=replay), num_requests=5), tokenizer=None)


def test_only_the_lengths_of_a_trace_are_sent_at_a_rate_of_ones_own(written):
    workload = Workload(trace=Trace(path=written(AZURE), replay="lengths"), concurrency=2)
    planned = plan(workload, tokenizer=None)
    assert not workload.is_open
    assert planned.due is None
    assert sorted(request.input_tokens for request in planned.requests) == [374, 396, 879]


@given(st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 8)), max_size=12))
def test_equal_hash_ids_are_equal_text_and_lengths_are_exact(model, tmp_path_factory, rows):
    """Each id stands for 8 tokens here, the last one for what is left."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    told = [(at, 8 * (len(ids) - 1) + last, 5, ids) for at, (ids, last) in enumerate([*rows, ([1, 2], 3)])]
    path = tmp_path_factory.mktemp("trace") / "mooncake.jsonl"
    path.write_text(mooncake(*told), encoding="utf-8")
    requests = plan(Workload(trace=Trace(path=path, block_tokens=8)), tokenizer=model).requests
    ids = [tokenizer.encode(request.prompt).ids for request in requests]
    assert [len(each) for each in ids] == [length for _, length, _, _ in told]
    for one, (_, _, _, blocks) in zip(ids, told, strict=True):
        for other, (_, _, _, others) in zip(ids, told, strict=True):
            if blocks[0] == others[0]:
                shared = min(7, len(one), len(other))
                assert one[:shared] == other[:shared]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30), st.lists(st.integers(0, 3), max_size=4)), min_size=3),
    st.sampled_from([{}, {"replay": "lengths"}]),
    st.sampled_from([{}, {"duration": 4.0}, {"num_requests": 3}, {"models": {"a": 1.0, "b": 2.0}}]),
)
def test_the_requests_of_a_long_trace_are_those_of_a_short_one(tmp_path_factory, rows, how, asked):
    path = tmp_path_factory.mktemp("trace") / "mooncake.jsonl"
    told = [(1000 * at, tokens + 8, 1 + at, ids) for at, tokens, ids in rows]
    path.write_text(mooncake(*told), encoding="utf-8")
    rate = {"request_rate": 2.0, "arrival": "constant"} if how else {}
    workload = Workload(trace=Trace(path=path, block_tokens=8, **how), **asked, **rate)
    short = plan(workload, tokenizer=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "MANY", 2)
        long = plan(workload, tokenizer=None)
    assert isinstance(long.requests, Growing)
    assert list(long.requests) == list(short.requests)
    assert long.due.tolist() == short.due.tolist()
    places = np.arange(len(long.requests))
    assert output_tokens(long.requests, places).tolist() == output_tokens(short.requests, places).tolist()


@pytest.mark.parametrize("block", [-1, 2**64])
def test_a_block_that_no_trace_would_name_is_refused(written, block):
    with pytest.raises(InvalidWorkload, match=r"has a block id that is not between 0 and 2\*\*64 - 1"):
        plan(Workload(trace=Trace(path=written(mooncake((0, 9, 1, [block]))))), tokenizer=None)


def test_a_repeat_of_a_trace_has_new_text(written):
    path = written(mooncake((0, 20, 5, [7])))
    first, second = (
        plan(Workload(trace=Trace(path=path)), tokenizer=None, repeat=repeat).requests[0].prompt for repeat in (0, 1)
    )
    assert first != second


def test_a_prompt_longer_than_its_blocks_ends_in_words_of_its_own(written):
    path = written(mooncake((0, 20, 5, [7]), (1, 20, 5, [7])))
    one, other = (
        request.prompt.split()
        for request in plan(Workload(trace=Trace(path=path, block_tokens=8)), tokenizer=None).requests
    )
    assert len(one) == len(other) == 20
    assert one[:8] == other[:8]
    assert one[8:] != other[8:]


def test_burstgpts_sessions_are_talks_whose_turns_hold_those_before_them(written):
    requests = plan(Workload(trace=Trace(path=written(BURSTGPT_TALKS), time_scale=0.1)), tokenizer=None)
    asked = [(r.session, r.turn, r.input_tokens, r.output_tokens, r.earliest) for r in requests.requests]
    assert asked == [
        (0, 0, 90, 40, 0.0),
        (0, 1, 150 - 130, 20, pytest.approx(5.1)),
        (-1, 0, 36, 29, 0.0),
        (2, 0, 30, 10, 0.0),
        (2, 1, 55 - 40, 10, pytest.approx(8.9)),
    ]
    assert requests.due[[0, 2, 3]] == pytest.approx([0.0, 1.0, 6.0])
    assert np.isnan(requests.due[[1, 4]]).all()


AIPERF = [
    {"timestamp": 100, "session_id": "a", "input_length": 30, "output_length": 4},
    {"timestamp": 150, "text_input": "what was asked", "output_length": 5, "extra": {"priority": 1}},
    {"session_id": "a", "delay": 400, "input_length": 15, "output_length": 2},
    {"timestamp": 900, "session_id": "a", "input_length": 7, "output_length": 3},
    {"timestamp": 950, "messages": [{"role": "user", "content": "look"}]},
]


def test_what_aiperf_adds_to_mooncakes_lines_is_understood(written):
    path = written("".join(json.dumps(row) + "\n" for row in AIPERF), "trace.jsonl")
    planned = plan(Workload(trace=Trace(path=path, time_scale=2.0), output_tokens=6), tokenizer=None)
    first, delayed, timed, text, chat = planned.requests
    assert [request.turn for request in planned.requests] == [0, 1, 2, 0, 0]
    assert (first.session, delayed.session, timed.session, text.session) == (0, 0, 0, -1)
    assert (delayed.input_tokens, delayed.think_time, delayed.earliest) == (15, 0.8, 0.0)
    assert (timed.think_time, timed.earliest) == (0.0, 1.6)
    assert (text.prompt, text.output_tokens, text.extra) == ("what was asked", 5, {"priority": 1})
    assert (chat.messages, chat.output_tokens) == (({"role": "user", "content": "look"},), 6)
    assert planned.due[[0, 3, 4]] == pytest.approx([0, 0.1, 1.7])


def test_a_trace_without_times_has_lengths_only(written):
    rows = [{"session_id": "a", "input_length": 9, "output_length": 2}, {"session_id": "a", "input_length": 4}]
    path = written("".join(json.dumps(row) + "\n" for row in rows), "trace.jsonl")
    with pytest.raises(InvalidWorkload, match="does not say when its requests came: replay its lengths"):
        plan(Workload(trace=Trace(path=path)), tokenizer=None)
    planned = plan(Workload(trace=Trace(path=path, replay="lengths"), output_tokens=6), tokenizer=None)
    assert [(request.turn, request.output_tokens) for request in planned.requests] == [(0, 2), (1, 6)]


def test_the_turns_of_a_session_stay_together_in_whatever_order_talks_come(written):
    path = written(BURSTGPT_TALKS)
    for repeat in range(4):
        workload = Workload(trace=Trace(path=path, replay="lengths"), concurrency=2)
        requests = plan(workload, tokenizer=None, repeat=repeat).requests
        talks = [[r.input_tokens for r in requests if r.session == s] for s in {r.session for r in requests} if s >= 0]
        assert sorted(talks) == [[30, 15], [90, 20]]
        for one, other in pairwise(requests):
            assert other.turn == 0 or (other.session, other.turn) == (one.session, one.turn + 1)
