"""A workload says what is asked, checks it, and has an identity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_msprof import Workload
from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.workload_parts import Dataset, Lengths, Prefixes, Sessions, Stages, Trace


def test_without_a_load_it_is_one_request_after_the_other():
    assert (Workload().concurrency, Workload().request_rate) == (1, None)
    assert Workload(request_rate=2.0).concurrency is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"concurency": 4}, "unknown workload field 'concurency' (known: input_tokens, "),
        ({"concurrency": 0}, "workload field 'concurrency': input should be greater than or equal to 1, but got 0"),
        ({"request_rate": float("inf")}, "workload field 'request_rate'"),
        ({"request_rate": -1.0}, "workload field 'request_rate': input should be greater than 0, but got -1.0"),
        ({"request_rate": 0}, "workload field 'request_rate': input should be greater than 0, but got 0"),
        ({"duration": 0}, "workload field 'duration': input should be greater than 0, but got 0"),
        ({"input_tokens": "many"}, "workload field 'input_tokens': input should be a valid integer"),
        ({"input_tokens": {"distribution": "normal", "mean": 5}}, "normal lengths need std"),
        ({"input_tokens": {"distribution": "uniform", "low": 5, "high": 4}}, "lengths from 5 to 4 are none"),
        ({"models": {"lora": 0}}, "workload field 'models.lora': input should be greater than 0"),
        ({"num_requests": None}, "nothing ends this workload: give num_requests or one of duration, "),
        ({"arrival": "burst", "request_rate": 2}, "a workload takes request_rate or arrival 'burst', but got both"),
        ({"trace": {"path": "t"}, "request_rate": 2}, "request_rate or the times of a trace, but got both"),
        ({"trace": {"path": "t"}, "dataset": {"path": "d"}}, "a workload takes dataset or trace, but got both"),
        ({"stages": {"seconds": 5}}, "stages change either request_rate or concurrency, but got neither"),
        (
            {"stages": {"request_rate": [1, 2], "concurrency": [1, 2], "seconds": 5}},
            "stages change either request_rate or concurrency, but got both",
        ),
        ({"stages": {"request_rate": [1, 0], "seconds": 5}}, "stages field 'request_rate.1': input should be greater"),
        ({"stages": {"request_rate": [1, 3], "seconds": 5}, "request_rate": 9}, "request_rate or stages of it"),
        ({"stages": {"request_rate": [1, 3], "seconds": 5}, "duration": 0}, "'duration': input should be greater"),
        ({"stages": {"concurrency": [4], "seconds": 5, "ramp": True}}, "two values at least, but got 4 alone"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(values, message):
    with pytest.raises(InvalidWorkload) as caught:
        Workload(**values)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_load_leaves_the_requests_as_they_are():
    workload = Workload(concurrency=2, seed=5, num_requests=7)

    assert workload.with_load(concurrency=8) == Workload(concurrency=8, seed=5, num_requests=7)
    assert workload.with_load(request_rate=3.0).concurrency == 2
    assert workload.with_load() == workload
    with pytest.raises(InvalidWorkload):
        workload.with_load(concurrency=0)


@given(st.integers(1, 100), st.integers(1, 100))
def test_equal_workloads_and_only_those_have_equal_hashes(one, other):
    hashes = [Workload(concurrency=value).hash() for value in (one, other)]

    assert (hashes[0] == hashes[1]) == (one == other)


def test_the_tokenizer_that_makes_the_prompts_is_part_of_the_identity():
    assert Workload().hash("a") != Workload().hash("b")
    assert Workload().hash() == Workload().hash("")


def test_hashes_of_stored_goldens_hold():
    assert Workload().hash("a") == "06823dec472aaa3d"
    assert Workload(concurrency=4, endpoint="chat", request_rate=2.5).hash() == "34125b63010f1f2f"


def test_what_changes_a_request_changes_the_hash_and_a_limit_on_its_answer_does_not():
    assert Workload(stream=False).hash() != Workload().hash()
    assert Workload(sampling={"temperature": 0.7}).hash() != Workload().hash()
    assert Workload(goodput={"ttft": 0.5}).hash() == Workload().hash()


def test_a_workload_comes_back_from_json_as_it_was():
    workload = Workload(
        input_tokens=Lengths.histogram((1, 8, 0.5), (9, 20, 2)),
        output_tokens=Lengths.lognormal(40, 10, high=90),
        stages=Stages(request_rate=(1, 4), seconds=3, ramp=True),
        sessions=Sessions(turns=Lengths.uniform(1, 4), think_time=2, thinking="exponential"),
        prefixes=Prefixes(number=3, tokens=12, share=0.5),
        models={"base": 2, "lora": 1},
    )

    assert Workload.model_validate_json(workload.model_dump_json()) == workload
    assert (workload.request_rate, workload.duration, workload.num_requests) == (2.5, 3, None)


def test_a_file_counts_by_its_content_wherever_it_lies(tmp_path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("a")
    other.write_text("a")
    assert Workload(dataset=Dataset(path=one)).hash() == Workload(dataset=Dataset(path=other)).hash()
    other.write_text("b")
    assert Workload(dataset=Dataset(path=one)).hash() != Workload(dataset=Dataset(path=other)).hash()
    assert Workload(trace=Trace(path=one)).hash() != Workload(trace=Trace(path=other)).hash()


def test_the_workloads_of_the_documents_can_be_made():
    text = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "docs/workloads.md", "exec"), {})
