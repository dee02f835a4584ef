"""The requests of a load: exact, different, and the same on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers import models as token_models

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests import Growing, has_tokenizer, plan, prompts, tokenizer_digest
from pytest_msprof.requests.draws import uniforms_between
from pytest_msprof.requests.vocabulary import vocabulary_of
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Lengths, Prefixes

LENGTHS = st.one_of(
    st.integers(2, 200),
    st.builds(lambda low, more: Lengths.uniform(low, low + more), st.integers(2, 50), st.integers(0, 200)),
    st.builds(lambda mean, std: Lengths.normal(mean, std, low=2), st.floats(1, 200), st.floats(0.1, 100)),
    st.builds(lambda mean, std: Lengths.lognormal(mean, std, low=2, high=400), st.floats(1, 200), st.floats(0.1, 100)),
    st.just(Lengths.histogram((2, 4, 1.0), (90, 100, 3.0))),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
@settings(deadline=None, max_examples=25)
@given(lengths=LENGTHS, seed=st.integers(0, 2**32))
def test_every_prompt_has_exactly_the_tokens_that_were_asked_for(model, endpoint, lengths, seed):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    workload = Workload(input_tokens=lengths, num_requests=8, seed=seed, endpoint=endpoint)
    for request in plan(workload, tokenizer=model, repeat=seed % 3).requests:
        assert len(tokenizer.encode(request.prompt).ids) == request.input_tokens
        if isinstance(lengths, int):
            assert request.input_tokens == lengths
        elif lengths.high:
            assert lengths.low <= request.input_tokens <= lengths.high


@settings(deadline=None, max_examples=25)
@given(number=st.integers(1, 40), share=st.floats(0.05, 1), prefixes=st.integers(1, 5), tokens=st.integers(1, 30))
def test_prompts_begin_with_shared_prefixes_and_keep_their_length(model, number, share, prefixes, tokens):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    shared = Prefixes(number=prefixes, tokens=tokens, share=share)
    workload = Workload(input_tokens=tokens + 3, num_requests=number, warmup=prefixes, prefixes=shared)
    planned = plan(workload, tokenizer=model)
    warm = {tuple(tokenizer.encode(request.prompt).ids[:tokens]) for request in planned.warm_up}
    assert len(warm) == prefixes
    ids = [tuple(tokenizer.encode(request.prompt).ids) for request in planned.requests]
    assert {len(each) for each in ids} == {tokens + 3}
    assert len(set(ids)) == number
    if share == 1:
        assert {each[:tokens] for each in ids} <= warm


def test_as_many_prompts_share_a_prefix_as_were_asked_for():
    workload = Workload(
        input_tokens=20, num_requests=4000, prefixes=Prefixes(number=4, tokens=10, share=0.25), warmup=0
    )
    begins = Counter(tuple(prompt.split()[:10]) for prompt in prompts(workload, tokenizer=None))
    shared = [number for _, number in begins.most_common(4)]
    assert sum(shared) == pytest.approx(1000, rel=0.1)
    assert min(shared) > 200
    assert begins.most_common(5)[-1][1] == 1


def test_a_prompt_that_is_all_prefix_is_refused():
    with pytest.raises(InvalidWorkload, match="a prompt of 10 tokens has nothing of its own after a prefix of 10"):
        plan(Workload(input_tokens=10, prefixes=Prefixes(tokens=10)), tokenizer=None)


def test_the_same_workload_repeat_and_step_give_the_same_bytes(model):
    workload = Workload(num_requests=8, seed=3)
    assert prompts(workload, tokenizer=model, repeat=2, step=1) == prompts(workload, tokenizer=model, repeat=2, step=1)


def test_the_bytes_do_not_depend_on_this_machine():
    first = prompts(Workload(input_tokens=4, num_requests=2, seed=7), tokenizer=None)
    assert first == ["mulo pufi muto zipu", "dire tofo tare pufu"]
    drawn = Workload(input_tokens=Lengths.lognormal(6, 3), output_tokens=Lengths.normal(30, 9), num_requests=4, seed=7)
    requests = plan(drawn, tokenizer=None).requests
    assert [request.input_tokens for request in requests] == [12, 7, 8, 10]
    assert [request.output_tokens for request in requests] == [22, 21, 35, 22]


EVERYTHING = """
import sys
from pathlib import Path
from pytest_msprof import *
from pytest_msprof.requests import plan
folder, model = map(Path, sys.argv[1:])
for workload in (
    Workload(prefixes=Prefixes(number=3, tokens=9, share=0.5), models={"one": 2, "two": 1}, request_rate=5),
    Workload(sessions=Sessions(turns=Lengths.uniform(1, 3), think_time=1, thinking="exponential"), endpoint="chat"),
    Workload(dataset=Dataset(path=folder / "rows.jsonl"), arrival="gamma", burstiness=0.5, request_rate=5),
    Workload(trace=Trace(path=folder / "trace.jsonl")),
):
    planned = plan(workload, tokenizer=model, repeat=1, step=2)
    print(workload.hash("tokenizer"), planned.due, planned.warm_up, planned.requests)
"""


def test_another_process_with_other_hashes_sends_the_same_bytes(model, tmp_path):
    """Of everything that is drawn: lengths, prefixes, models, talks, rows of a dataset, hash ids of a trace, times."""
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"prompt": "row {row}"}}\n' for row in range(20)))
    rows = [{"timestamp": row, "input_length": 40, "output_length": 4, "hash_ids": [0, row % 3]} for row in range(9)]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-c", EVERYTHING, str(tmp_path), str(model)]
    told = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].count("Request(") > 100


def test_each_seed_repeat_and_step_has_new_text(model):
    streams = [
        prompts(Workload(num_requests=8, seed=seed), tokenizer=model, repeat=repeat, step=step)
        for seed in range(2)
        for repeat in range(3)
        for step in range(2)
    ]
    for one, other in combinations(streams, 2):
        assert not set(one) & set(other)


def test_warm_up_prompts_are_never_sent_again(model):
    workload = Workload(num_requests=48, warmup=8)
    planned = plan(workload, tokenizer=model)
    assert len(planned.warm_up) == 8
    assert not {request.prompt for request in planned.warm_up} & {request.prompt for request in planned.requests}


def test_no_two_prompts_begin_with_the_same_two_words():
    made = prompts(Workload(input_tokens=16, num_requests=3000), tokenizer=None)
    assert len({tuple(prompt.split()[:2]) for prompt in made}) == 3000


def test_more_requests_begin_with_those_of_fewer(model):
    drawn = Lengths.lognormal(40, 30)
    few, many = (
        plan(Workload(input_tokens=drawn, output_tokens=drawn, num_requests=number), tokenizer=model).requests
        for number in (10, 90)
    )
    assert many[:10] == few


def test_a_closed_loop_that_only_time_ends_never_runs_out_of_requests(model):
    few = plan(Workload(concurrency=2, num_requests=1500, input_tokens=9), tokenizer=model).requests
    endless = plan(Workload(concurrency=2, duration=5.0, input_tokens=9), tokenizer=model).requests
    assert isinstance(endless, Growing)
    assert endless[1499] == few[1499]
    assert endless[:1500] == few
    assert list(islice(iter(endless), 1600))[:1500] == few
    with pytest.raises(InvalidWorkload, match="give num_requests, so that there is a last prompt"):
        prompts(Workload(concurrency=2, duration=5.0), tokenizer=None)


def test_very_many_requests_are_built_as_they_are_needed():
    many = plan(Workload(request_rate=1000, num_requests=150_000, input_tokens=4, warmup=0), tokenizer=None)
    fewer = plan(Workload(num_requests=2000, input_tokens=4), tokenizer=None).requests
    assert isinstance(many.requests, Growing)
    assert len(many.requests) == len(many.due) == 150_000
    assert many.requests[:2000] == fewer
    assert many.requests[1030] == fewer[1030]
    with pytest.raises(IndexError):
        many.requests[150_000]


def test_what_was_sent_long_ago_is_forgotten_and_built_again_where_it_is_asked_for():
    many = plan(Workload(num_requests=150_000, input_tokens=2, warmup=0), tokenizer=None).requests
    first, late = many[0], many[30_000]
    assert many[0] == first
    assert many[30_000] == late
    tracemalloc.start()
    for number in range(30_000, 120_000):
        many[number]
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 90_000 * 120


def test_without_a_tokenizer_a_word_stands_for_a_token(tmp_path):
    assert not has_tokenizer(tmp_path)
    for prompt in prompts(Workload(input_tokens=9, num_requests=4), tokenizer=tmp_path):
        assert len(prompt.split()) == 9


@given(st.integers(0, 5000), st.integers(0, 3000), st.integers(0, 3000))
def test_a_series_may_be_drawn_from_any_place(begin, number, before):
    whole = uniforms_between("key", max(begin - before, 0), begin + number)
    assert np.array_equal(uniforms_between("key", begin, begin + number), whole[min(before, begin) :])


def test_planning_imports_no_heavy_library(model):
    code = (
        "import sys; from pathlib import Path; from pytest_msprof import Lengths, Workload\n"
        "from pytest_msprof.requests import plan\n"
        "plan(Workload(input_tokens=Lengths.normal(40, 9), request_rate=5), tokenizer=Path(sys.argv[1]))\n"
        "print([name for name in ('transformers', 'torch', 'scipy', 'optuna', 'pandas') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_too_many_different_prompts_of_one_token_are_refused(model):
    with pytest.raises(InvalidWorkload, match=r"5000 different prompts of 1 tokens .* ask for more input_tokens"):
        prompts(Workload(input_tokens=1, num_requests=5000), tokenizer=model)


def test_special_tokens_count_for_completions_and_not_for_chat(tmp_path):
    folder = _with_leading_special(tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    completion = prompts(Workload(input_tokens=5, num_requests=1), tokenizer=folder)[0]
    chat = prompts(Workload(input_tokens=5, num_requests=1, endpoint="chat"), tokenizer=folder)[0]
    assert len(tokenizer.encode(completion).ids) == 5
    assert len(tokenizer.encode(chat).ids) == 6


def test_a_tokenizer_of_letters_is_exact_too(tmp_path):
    letters = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    tokenizer = Tokenizer(token_models.BPE(vocab=letters, merges=[]))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for prompt in prompts(Workload(input_tokens=12, num_requests=4), tokenizer=tmp_path):
        assert len(tokenizer.encode(prompt).ids) == 12


def test_words_that_may_merge_with_their_neighbours_are_counted_each_time(tmp_path):
    """A tokenizer that never cuts the text: some words join with what follows them."""
    letters = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    merges = [("a", "b"), ("x", "y")]
    vocabulary = {**letters, "ab": 27, "xy": 28}
    Tokenizer(token_models.BPE(vocab=vocabulary, merges=merges)).save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert not vocabulary_of(tmp_path, with_specials=True).stands_alone
    for prompt in prompts(Workload(input_tokens=40, num_requests=50), tokenizer=tmp_path):
        assert len(tokenizer.encode(prompt).ids) == 40


def test_a_vocabulary_is_found_once_and_kept_for_the_user(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = tmp_path / "model"
    copy.mkdir()
    (copy / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    found = vocabulary_of(copy, with_specials=True)
    assert found.stands_alone
    kept = next((tmp_path / "cache" / "pytest-msprof").iterdir())
    vocabulary_of.__globals__["_kept_vocabulary"].cache_clear()
    assert vocabulary_of(copy, with_specials=True) == found
    kept.write_text("{broken")
    vocabulary_of.__globals__["_kept_vocabulary"].cache_clear()
    assert vocabulary_of(copy, with_specials=True) == found


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    vocabulary_of.__globals__["_kept_vocabulary"].cache_clear()
    assert vocabulary_of(model, with_specials=True).stands_alone


def test_a_file_that_is_no_tokenizer_is_refused_by_its_name(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidWorkload, match=r"cannot read the tokenizer .*tokenizer\.json"):
        plan(Workload(), tokenizer=tmp_path)


def test_a_tokenizer_is_identified_by_its_content(model, tmp_path):
    copy = tmp_path / "tokenizer.json"
    copy.write_bytes((model / "tokenizer.json").read_bytes())
    assert tokenizer_digest(tmp_path) == tokenizer_digest(model) != ""
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert tokenizer_digest(tmp_path) != tokenizer_digest(model)
    assert tokenizer_digest(None) == ""


def test_requests_go_to_models_by_their_weights():
    workload = Workload(num_requests=4000, models={"base": 3, "lora": 1}, input_tokens=4)
    asked = Counter(request.model for request in plan(workload, tokenizer=None).requests)
    assert asked["base"] + asked["lora"] == 4000
    assert asked["lora"] == pytest.approx(1000, rel=0.1)


def _with_leading_special(folder: Path) -> Path:
    from tokenizers import pre_tokenizers, processors

    words = {word: number for number, word in enumerate([f"w{'abcdefghijklmnopqrst'[n]}" for n in range(20)])}
    tokenizer = Tokenizer(token_models.WordLevel({"<s>": 100, "?": 101, "a": 102, **words}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 100)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
