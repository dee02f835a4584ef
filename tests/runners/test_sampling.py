"""Tokens are drawn as the request says, by numbers that belong to it alone."""

from __future__ import annotations

import collections

import pytest
import torch

from msprof_runners import HuggingFaceRunner
from msprof_runners.serving.rows import Request, Rows
from msprof_runners.serving.sampling import Draw, Sampling, choose
from pytest_msprof.errors import ConfigurationError

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -8.0])
DRAWS = 4000


def shares(**sampling):
    """Return how often each word is drawn."""
    draw = Draw(Sampling(seed=5, **sampling))
    counts = collections.Counter(int(draw.take(LOGITS)) for _ in range(DRAWS))
    return [counts[word] / DRAWS for word in range(len(LOGITS))]


def renormalised(probabilities, kept):
    return [float(p / probabilities[:kept].sum()) if word < kept else 0 for word, p in enumerate(probabilities)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_are_drawn_as_often_as_they_are_likely(temperature):
    wanted = (LOGITS / temperature).softmax(-1).tolist()
    assert shares(temperature=temperature) == pytest.approx(wanted, abs=4 * (0.25 / DRAWS) ** 0.5)


@pytest.mark.parametrize(
    ("narrowed", "kept"),
    [({"top_k": 2}, 2), ({"top_p": 0.8}, 2), ({"top_p": 0.9, "top_k": 2}, 2), ({"min_p": 0.1}, 3), ({"top_k": 99}, 5)],
)
def test_words_outside_of_the_limits_are_never_drawn(narrowed, kept):
    wanted = renormalised(LOGITS.softmax(-1), kept)
    found = shares(temperature=1.0, **narrowed)
    assert found == pytest.approx(wanted, abs=4 * (0.25 / DRAWS) ** 0.5)
    assert found[kept:] == [0] * (len(LOGITS) - kept)


def test_a_row_draws_the_same_whoever_else_is_there():
    rows = torch.stack([LOGITS, LOGITS.flip(0), LOGITS])
    alone = Draw(Sampling(temperature=1.0, seed=3))
    among = [Draw(Sampling(temperature=1.0, seed=8)), None, Draw(Sampling(temperature=1.0, seed=3))]
    for _ in range(50):
        chosen = choose(rows, among)
        assert chosen[2] == alone.take(LOGITS)
        assert chosen[1] == 4


def test_no_end_is_taken_before_its_time():
    draw = Draw(Sampling(min_tokens=2, ends=(0, 1)))
    assert [int(choose(LOGITS[None], [draw])[0]) for _ in range(3)] == [2, 2, 0]


@pytest.mark.parametrize("static", [False, True])
def test_a_seed_gives_the_same_answer_alone_and_among_others(settings, static):
    runner = HuggingFaceRunner(settings("tiny-llama", data={"ignore_eos": True})).init_model()
    wanted = Request((7, 8, 9), Sampling(temperature=1.0, top_k=50, seed=11))

    def said(others):
        rows = Rows(runner, most=3, longest=64, static=static)
        found = [rows.join({"wanted": wanted})["wanted"]]
        for other, request in others.items():
            rows.join({other: request})
        found += [rows.step()["wanted"] for _ in range(4)]
        rows.leave(set(others))
        return found + [rows.step()["wanted"] for _ in range(4)]

    alone = said({})
    assert said({"one": Request((5,) * 9, Sampling(temperature=2.0, seed=1)), "other": Request((6,) * 2)}) == alone
    again = Rows(runner, most=1, longest=64, static=static)
    greedy = [again.join({"wanted": Request(wanted.prompt)})["wanted"], *(again.step()["wanted"] for _ in range(8))]
    assert greedy == list(runner.model_generate([[7, 8, 9]]).tokens[0][:9])
    assert greedy != alone


def test_a_runner_that_chooses_tokens_itself_serves_greedy_requests_only(settings):
    class SecondBest(HuggingFaceRunner):
        def model_output_process(self, model_inputs, outputs, input_dict):
            self.take_tokens(outputs.logits[:, -1].topk(2).indices[:, 1], input_dict)

    rows = Rows(SecondBest(settings("tiny-llama")).init_model(), most=2, longest=64, static=False)
    assert rows.join({"greedy": Request((7, 8))})
    with pytest.raises(ConfigurationError, match=r"SecondBest.model_output_process .* self.choose_tokens"):
        rows.join({"drawn": Request((7, 8), Sampling(temperature=1.0))})
