"""Prompts from files: each format, each mistake, and the rows a load gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests import plan
from pytest_msprof.requests.datasets import read_dataset
from pytest_msprof.requests.tokenizers import token_counter
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Dataset, Sessions

SHAREGPT = [
    {
        "id": "a",
        "conversations": [
            {"from": "human", "value": "one"},
            {"from": "gpt", "value": "first answer here"},
            {"from": "human", "value": "two"},
            {"from": "gpt", "value": "second"},
        ],
    },
    {"id": "b", "conversations": [{"from": "gpt", "value": "nobody asked"}]},
    {"id": "c", "conversations": [{"from": "human", "value": "alone"}, {"from": "gpt", "value": "yes it is"}]},
]
IMAGE = [
    {"type": "text", "text": "what is this"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
]


@pytest.fixture
def written(tmp_path):
    def written(rows: Sequence[Any] | str, name: str) -> Path:
        path = tmp_path / name
        lines = rows if isinstance(rows, str) else "".join(f"{json.dumps(row)}\n" for row in rows)
        is_list = name.endswith(".json") and not isinstance(rows, str)
        path.write_bytes((json.dumps(rows) if is_list else lines).encode())
        return path

    return written


def planned(path: Path, tokenizer: Path | None = None, *, repeat: int = 0, step: int = 0, **workload: Any):
    parts = {name: workload.pop(name) for name in list(workload) if name in Dataset.model_fields}
    made = Workload(dataset=Dataset(path=path, **parts), **workload)
    return plan(made, tokenizer=tokenizer, repeat=repeat, step=step).requests


def test_of_sharegpts_talks_the_first_answered_turn_is_sent(written):
    requests = planned(written(SHAREGPT, "talks.json"))
    assert sorted((request.prompt, request.output_tokens) for request in requests) == [("alone", 3), ("one", 3)]


def test_a_session_goes_through_the_turns_of_its_talk(written):
    requests = planned(written(SHAREGPT, "talks.json"), sessions=Sessions(turns=5, think_time=2.0), lengths="workload")
    turns = {(request.prompt, request.turn, request.think_time, request.output_tokens) for request in requests}
    assert turns == {("one", 0, 0, 64), ("two", 1, 2.0, 64), ("alone", 0, 0, 64)}
    sessions = {request.prompt: request.session for request in requests}
    assert sessions["one"] == sessions["two"] != sessions["alone"]


def test_a_line_says_what_is_asked_of_whom_and_how_much_is_wanted(written):
    row = {"prompt": "hello", "output_tokens": 7, "model": "lora", "extra_body": {"top_k": 3}, "id": 5}
    request = planned(written([row], "rows.jsonl"))[0]
    assert (request.prompt, request.output_tokens, request.model, request.extra) == ("hello", 7, "lora", {"top_k": 3})


def test_content_parts_of_messages_are_sent_as_they_are(written):
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": IMAGE}]
    answered = [*messages, {"role": "assistant", "content": "a cat"}]
    requests = planned(written([{"messages": answered}], "rows.jsonl"), endpoint="chat")
    assert requests[0].messages == tuple(messages)
    assert requests[0].output_tokens == 2
    assert requests[0].prompt == "be short\nwhat is this\n"


def test_a_line_ends_where_json_lines_end_and_nowhere_else(written):
    text = "one\u2028two\x85three"
    path = written(
        "\r\n".join(json.dumps({"prompt": text}, ensure_ascii=False) for _ in range(2)) + "\r\n", "rows.jsonl"
    )
    assert [request.prompt for request in planned(path)] == [text, text]


def test_a_column_may_be_named(written):
    path = written([{"text": "no", "task": "yes"}], "rows.jsonl")
    assert planned(path, column="task")[0].prompt == "yes"


@pytest.mark.parametrize(
    ("rows", "name", "message"),
    [
        ("", "rows.jsonl", "rows.jsonl is empty"),
        ("[]", "rows.json", "rows.json is empty"),
        ("{}", "rows.json", "should be a list of rows, but is dict"),
        ("[1,", "rows.json", "is no JSON"),
        ('{"prompt": "a"}\n{"prompt"', "rows.jsonl", "rows.jsonl, line 2: no JSON"),
        ([{"title": "a", "body": "b"}], "rows.jsonl", "but found title, body"),
        ([{"prompt": ""}], "rows.jsonl", "asks anything: wanted one of messages, "),
        ([{"prompt": [1]}, 3, None], "rows.jsonl", "no row of the dataset"),
    ],
)
def test_what_asks_nothing_is_refused_in_one_line(written, rows, name, message):
    with pytest.raises(InvalidWorkload) as caught:
        planned(written(rows, name))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_by_its_name(tmp_path):
    with pytest.raises(InvalidWorkload, match=r"cannot read the dataset .*rows\.jsonl"):
        planned(tmp_path / "rows.jsonl")


def test_too_few_rows_are_refused_unless_they_may_come_again(written):
    path = written([{"prompt": f"p{number}"} for number in range(3)], "rows.jsonl")
    with pytest.raises(InvalidWorkload, match=r"5 requests were wanted, but the dataset .* has 3: ask for fewer"):
        planned(path, num_requests=5)
    assert [request.prompt for request in planned(path, num_requests=5, again=True)][:2] == [
        request.prompt for request in planned(path, num_requests=5, again=True)
    ][3:]
    with pytest.raises(InvalidWorkload, match="give num_requests to end that"):
        planned(path, again=True)


def test_rows_that_are_too_long_are_left_out(written):
    path = written([{"prompt": "a b c d"}, {"prompt": "a b"}], "rows.jsonl")
    assert [request.prompt for request in planned(path, longest=3)] == ["a b"]
    with pytest.raises(InvalidWorkload, match=r"some requests were wanted, but .* has 0 of at most 1 tokens"):
        planned(path, longest=1)


@given(st.integers(1, 20), st.integers(0, 3))
def test_each_load_step_goes_on_where_the_one_before_ended(tmp_path_factory, wanted, repeat):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(f'{{"prompt": "p{number}"}}\n' for number in range(40)))
    first, second = (
        [request.prompt for request in planned(path, num_requests=wanted, repeat=repeat, step=step)] for step in (0, 1)
    )
    assert not set(first) & set(second)


def test_tokens_are_counted_by_the_tokenizer(written, tmp_path):
    model = make_model("tiny-qwen2", tmp_path / "tiny-qwen2")
    count = token_counter(model)
    rows = [{"prompt": "Tell me about hippopotamuses", "answer": "They are hippopotamuses."}]
    request = planned(written(rows, "rows.jsonl"), model)[0]
    assert request.input_tokens == count(rows[0]["prompt"])
    assert request.output_tokens == count(rows[0]["answer"])


def test_a_dataset_saved_on_disk_is_read_split_by_split(tmp_path):
    pa = pytest.importorskip("pyarrow")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        table = pa.table({"question": [f"{split} {number}" for number in range(3)], "id": [1, 2, 3]})
        path = str(tmp_path / split / "data-00000-of-00001.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    asked = read_dataset(Dataset(path=tmp_path, split="test"))
    assert [turns[0].prompt for turns in asked] == ["test 0", "test 1", "test 2"]
    with pytest.raises(InvalidWorkload, match=r"has several splits, name one \(found: test, train\)"):
        read_dataset(Dataset(path=tmp_path))
    with pytest.raises(InvalidWorkload, match=r"has no split 'dev' \(found: test, train\)"):
        read_dataset(Dataset(path=tmp_path, split="dev"))


def test_parquet_files_of_the_hub_are_read(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "data").mkdir()
    messages = [[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]]
    parquet.write_table(pa.table({"messages": messages}), tmp_path / "data" / "train-00000-of-00001.parquet")
    requests = planned(tmp_path)
    assert requests[0].messages == ({"role": "user", "content": "hello"},)
    assert requests[0].output_tokens == 2
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR0")
    with pytest.raises(InvalidWorkload, match="cannot read"):
        planned(tmp_path)
