"""The requests of a load: exact, different, and the same on every machine."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers import models as token_models

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests import arrivals, has_tokenizer, prompts, tokenizer_digest, warmup_prompts
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
@settings(deadline=None, max_examples=25)
@given(length=st.integers(2, 300), seed=st.integers(0, 2**32))
def test_every_prompt_has_exactly_the_tokens_that_were_asked_for(model, endpoint, length, seed):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    workload = Workload(input_tokens=length, num_requests=8, seed=seed, endpoint=endpoint)
    for prompt in prompts(workload, tokenizer=model, repeat=seed % 3):
        assert len(tokenizer.encode(prompt).ids) == length


def test_the_same_workload_repeat_and_step_give_the_same_bytes(model):
    workload = Workload(num_requests=8, seed=3)
    assert prompts(workload, tokenizer=model, repeat=2, step=1) == prompts(workload, tokenizer=model, repeat=2, step=1)


def test_the_bytes_do_not_depend_on_this_machine():
    first = prompts(Workload(input_tokens=4, num_requests=2, seed=7), tokenizer=None)
    assert first == ["mulo pufi muto zipu", "dire tofo tare pufu"]


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
    warm = warmup_prompts(workload, tokenizer=model)
    assert len(warm) == 8
    assert not set(warm) & set(prompts(workload, tokenizer=model))


def test_no_two_prompts_begin_with_the_same_two_words():
    made = prompts(Workload(input_tokens=16, num_requests=3000), tokenizer=None)
    assert len({tuple(prompt.split()[:2]) for prompt in made}) == 3000


def test_without_a_tokenizer_a_word_stands_for_a_token(tmp_path):
    assert not has_tokenizer(tmp_path)
    for prompt in prompts(Workload(input_tokens=9, num_requests=4), tokenizer=tmp_path):
        assert len(prompt.split()) == 9


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


def test_a_closed_loop_has_no_schedule():
    assert arrivals(Workload(concurrency=4)) is None


def test_poisson_arrivals_keep_the_rate_and_begin_at_once():
    due = arrivals(Workload(request_rate=20.0, num_requests=20_000, seed=1))
    gaps = np.diff(due)
    assert due[0] == 0
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 20, rel=0.03)


def test_arrivals_differ_between_repeats_and_not_between_calls():
    workload = Workload(request_rate=20.0, num_requests=10)
    assert np.array_equal(arrivals(workload, repeat=1), arrivals(workload, repeat=1))
    assert not np.array_equal(arrivals(workload, repeat=1), arrivals(workload, repeat=2))


def test_a_tokenizer_is_identified_by_its_content(model, tmp_path):
    copy = tmp_path / "tokenizer.json"
    copy.write_bytes((model / "tokenizer.json").read_bytes())
    assert tokenizer_digest(tmp_path) == tokenizer_digest(model) != ""
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert tokenizer_digest(tmp_path) != tokenizer_digest(model)
    assert tokenizer_digest(None) == ""


def _with_leading_special(folder: Path) -> Path:
    from tokenizers import pre_tokenizers, processors

    words = {word: number for number, word in enumerate([f"w{'abcdefghijklmnopqrst'[n]}" for n in range(20)])}
    tokenizer = Tokenizer(token_models.WordLevel({"<s>": 100, "?": 101, "a": 102, **words}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 100)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
