"""Events of a stream: whole, on time, however the network cut them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_plugins.load.answers import read_answer, sample_of
from msprof_plugins.load.dialects import Piece, find_dialect
from msprof_plugins.load.exchange import Exchange
from msprof_plugins.load.reading import read_stream
from pytest_msprof.samples import Sample


class Plain:
    """A dialect whose events are their own text."""

    streams = says_end = True

    def read(self, event):
        return Piece(text=event) if isinstance(event, str) else Piece(text=event["t"], finish_reason=event.get("f", ""))


def all_events(*parts: bytes):
    content = read_stream([(float(index), part) for index, part in enumerate(parts)], Plain())
    assert not content.error
    return list(zip(content.times, content.texts, strict=True))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_spelling_of_a_line_end_is_one(end):
    body = end.join([b'data: "a"', b"", b'data: "b', b'data: c"', b"", b""])
    assert all_events(body.replace(b'"b', b'{"t":').replace(b'c"', b'"c"}')) == [(0.0, "a"), (0.0, "c")]


def test_comments_and_other_fields_are_no_events():
    assert all_events(b': keep-alive\n\nevent: x\nid: 3\n\ndata:"a"\n\n') == [(0.0, "a")]


def test_an_event_has_the_time_of_the_part_that_completed_it():
    assert all_events(b"da", b'ta: "\xe4', b'\xbd\xa0"\n', b'\ndata: "b"\n\n') == [(3.0, "你"), (3.0, "b")]


def test_a_last_event_without_a_blank_line_counts():
    assert all_events(b'data: "a"\n\n', b'data: "b"') == [(0.0, "a"), (1.0, "b")]


def test_no_body_has_no_events():
    assert all_events() == []


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5) | st.sampled_from(
    ["a", "t", '"', "\\", '\\"', '","', "\n", "data: ", "\n\n", "你"]
)


@given(st.lists(texts, max_size=12), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.data())
def test_where_the_network_cuts_makes_no_difference(texts, ascii_only, line_end, data):
    events = [f"data: {json.dumps({'t': text}, ensure_ascii=ascii_only)}{line_end * 2}" for text in texts]
    body = "".join(events).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=10)))
    parts = [body[low:high] for low, high in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    found = all_events(*parts)
    assert [text for _, text in found] == texts
    assert [moment for moment, _ in found] == sorted(moment for moment, _ in found)


INSIDES = ["a", "", "\\", "\\\\", '\\"', '"', '","', '","f":"x', "\t", "\\t", "\\x", "\\u00e4", "}"]


@given(st.lists(st.lists(st.sampled_from(INSIDES), min_size=1, max_size=3).map("".join), max_size=8))
def test_many_events_at_once_are_read_as_one_by_one(insides):
    events = [b'data: {"t":"first"}\n\n', *(f'data: {{"t":"{inside}"}}\n\n'.encode() for inside in insides)]
    at_once = read_stream([(0.0, b"".join(events))], Plain())
    alone = [read_stream([(0.0, event)], Plain()) for event in events]
    assert at_once.texts == [text for content in alone for text in content.texts]
    assert len(at_once.times) == len(at_once.texts)
    assert at_once.error == next((content.error for content in alone[::-1] if content.error), "")
    assert at_once.finish_reason == next((c.finish_reason for c in alone[::-1] if c.finish_reason), "")


def exchange_of(*parts: tuple[float, str], status: int = 200, failure: str = ""):
    """An exchange that started at 10 and whose parts arrived at their times."""
    exchange = Exchange(0, start=10.0, status=status, ended=parts[-1][0] if parts else 10.0, failure=failure)
    exchange.times = [moment for moment, _ in parts]
    exchange.parts = [text.encode() for _, text in parts]
    exchange.marks = list(range(1, len(parts) + 1))
    return exchange


def sample_from(exchange, endpoint="completions", count_tokens=None) -> Sample:
    return sample_of(exchange, read_answer(exchange, find_dialect(endpoint)), 10.0, count_tokens)


def text(words: str, finish: str = "", **more) -> str:
    choice = {"index": 0, "text": words, "finish_reason": finish or None}
    return f"data: {json.dumps({'choices': [choice], **more})}\n\n"


def delta(finish: str = "", **content) -> str:
    return f"data: {json.dumps({'choices': [{'delta': content, 'finish_reason': finish or None}]})}\n\n"


USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
DONE = "data: [DONE]\n\n"


def test_times_run_from_the_start_to_the_events_with_content():
    sample = sample_from(exchange_of((10.5, text("a")), (10.75, text("b", "length")), (11.0, USAGE + DONE)))
    assert (sample.ttft, sample.latency, sample.closed, sample.gaps) == (0.5, 0.75, 1.0, (0.25,))
    assert (sample.input_tokens, sample.output_tokens, sample.token_source) == (3, 4, "usage")
    assert (sample.finish_reason, sample.error) == ("length", "")


def test_role_empty_and_usage_events_move_no_clock():
    exchange = exchange_of(
        (10.1, delta(role="assistant", content="")),
        (10.2, delta(role="assistant")),
        (10.5, delta(content="a")),
        (10.6, delta(content="")),
        (10.8, delta(content="b")),
        (10.9, delta("stop")),
        (11.0, USAGE),
    )
    sample = sample_from(exchange, "chat")
    assert (sample.ttft, sample.latency) == (0.5, pytest.approx(0.8))
    assert len(sample.gaps) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"reasoning_content": "a"},
        {"reasoning": "a"},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
    ],
)
def test_reasoning_and_tool_calls_are_content(content):
    assert sample_from(exchange_of((10.5, delta("stop", **content))), "chat").ttft == 0.5


def test_usage_in_every_event_tells_the_tokens_of_the_first():
    parts = [
        (10.5, text("a b", usage={"completion_tokens": 2})),
        (10.7, text("c", "stop", usage={"completion_tokens": 3})),
    ]
    sample = sample_from(exchange_of(*parts))
    assert (sample.first_tokens, sample.output_tokens) == (2, 3)


def test_without_usage_the_tokenizer_counts_the_whole_text():
    exchange = exchange_of((10.5, text("one two")), (10.7, text(" three", "stop")))
    sample = sample_from(exchange, count_tokens=lambda whole: len(whole.split()))
    assert (sample.output_tokens, sample.token_source) == (3, "tokenizer")


def test_without_usage_and_tokenizer_events_are_counted():
    sample = sample_from(exchange_of((10.5, text("one two")), (10.7, text(" three", "stop"))))
    assert (sample.output_tokens, sample.token_source) == (2, "events")


@pytest.mark.parametrize(
    ("exchange", "error"),
    [
        (exchange_of((10.5, text("a")), (10.6, "data: [DONE]\n\n")), ""),
        (exchange_of((10.5, text("a", "stop"))), ""),
        (exchange_of((10.5, text("a"))), "truncated"),
        (exchange_of((10.5, text("", "stop") + DONE)), "empty"),
        (exchange_of(), "empty"),
        (exchange_of((10.5, '{"choices":[{"text":"a"}]}')), "empty"),
        (exchange_of((10.5, text("a")), (10.6, 'data: {"error": {"message": "m"}}\n\n' + DONE)), "error event"),
        (exchange_of((10.5, text("a")), (10.6, 'data: {"choices": [\n\n' + DONE)), "stream"),
        (exchange_of((10.5, 'data: {"choices": [3]}\n\n' + DONE)), "stream"),
        (exchange_of((10.5, "data: 3\n\n" + DONE)), "stream"),
        (exchange_of((10.5, text("a", "stop") + DONE), failure="timeout"), "timeout"),
        (exchange_of((10.5, '{"error": "x"}'), status=429), "status 429"),
        (exchange_of((10.5, text("a", "stop") + DONE), status=307), "status 307"),
    ],
)
def test_an_answer_is_a_success_only_if_everything_says_so(exchange, error):
    assert sample_from(exchange).error == error


def test_a_cut_answer_keeps_what_was_measured():
    sample = sample_from(exchange_of((10.5, text("a")), (10.7, text("b")), (10.8, 'data: {"ch'), failure="stream"))
    assert sample.error == "stream"
    assert (sample.ttft, sample.latency) == (0.5, pytest.approx(0.7))
    assert sample.output_tokens == -1
    assert sample.closed != sample.closed
