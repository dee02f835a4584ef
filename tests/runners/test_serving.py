"""What a server's batch says is what each request gets alone, whoever comes and goes meanwhile."""

from __future__ import annotations

import random
import threading

import pytest
import torch

from msprof_runners import HuggingFaceRunner
from msprof_runners.serving.answers import Text
from msprof_runners.serving.loop import GenerationLoop, Ticket
from msprof_runners.serving.rows import Request, Rows
from msprof_runners.serving.sampling import Sampling

LENGTHS = (5, 23, 2, 40, 11, 31, 3, 17)
TOKENS = 12


def prompts(runner):
    drawn = random.Random(3)
    return [tuple(drawn.randrange(300, runner.hf_config.vocab_size) for _ in range(length)) for length in LENGTHS]


def alone(runner, prompt):
    return list(runner.model_generate([prompt]).tokens[0])


def loaded(settings, name, *, tokens=TOKENS, **model):
    data = {"max_new_tokens": tokens, "ignore_eos": True}
    return HuggingFaceRunner(settings(name, data=data, model=model)).init_model()


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt-oss"])
@pytest.mark.parametrize("static", [False, True])
def test_requests_that_join_and_leave_say_what_they_say_alone(settings, name, static):
    runner = loaded(settings, name)
    asked = dict(enumerate(prompts(runner)))
    wanted = {number: alone(runner, prompt) for number, prompt in asked.items()}
    rows = Rows(runner, most=3, longest=64, static=static)
    said = {number: [] for number in asked}
    waiting = list(asked)
    while waiting or rows.owners:
        joining, waiting = waiting[: 3 - len(rows.owners)], waiting[3 - len(rows.owners) :]
        made = rows.join({number: Request(asked[number]) for number in joining[:2]}) if joining else rows.step()
        waiting = joining[2:] + waiting
        for number, token in made.items():
            said[number].append(token)
        rows.leave({number for number in rows.owners if len(said[number]) == TOKENS - number % 3})
    assert said == {number: tokens[: TOKENS - number % 3] for number, tokens in wanted.items()}


def test_a_batch_that_runs_beyond_its_buffers_moves_its_rows_to_the_left(settings):
    runner = loaded(settings, "tiny-llama", tokens=30)
    first, second = prompts(runner)[3], prompts(runner)[0]
    wanted = alone(runner, second)
    rows = Rows(runner, most=2, longest=64, static=True)
    rows.join({"first": Request(first)})
    for _ in range(20):
        rows.step()
    said = [rows.join({"second": Request(second)})["second"]]
    rows.leave({"first"})
    said += [rows.step()["second"] for _ in range(29)]
    assert said == wanted


class Ask:
    """Collects what one request is told."""

    def __init__(self, prompt, max_tokens, *, stops=frozenset(), **sampling):
        self.ticket = Ticket(prompt, max_tokens, stops, self.take, Sampling(**sampling))
        self.tokens, self.end, self.after = [], None, None

    def take(self, event):
        if event.token is not None:
            self.tokens.append(event.token)
        self.end = event.finish_reason or event.error or None
        if self.after:
            self.after()


def answered(runner, asks, *, batch_size=4, prefill_tokens=64):
    """Run a loop until every request of *asks* has its end."""
    done = threading.Event()

    def deliver(delivery):
        for ticket, event in delivery:
            ticket.tell(event)
        if all(ask.end or ask.ticket.is_cancelled for ask in asks):
            done.set()

    served = runner.begin_serving(most=batch_size, longest=64)
    with GenerationLoop(runner, served, deliver, batch_size=batch_size, prefill_tokens=prefill_tokens) as loop:
        for ask in asks:
            loop.submit(ask.ticket)
        assert done.wait(60)
        assert loop.is_alive


def test_an_answer_ends_with_its_length_or_its_stop_token(settings):
    runner = loaded(settings, "tiny-llama")
    prompt = prompts(runner)[0]
    free = alone(runner, prompt)
    asks = [Ask(prompt, 7), Ask(prompt, TOKENS, stops=frozenset({free[4]})), Ask(prompt, 1)]
    answered(runner, asks)
    assert [ask.tokens for ask in asks] == [free[:7], free[:5], free[:1]]
    assert [ask.end for ask in asks] == ["length", "stop", "length"]


def test_a_request_that_is_cancelled_leaves_the_others_alone(settings):
    runner = loaded(settings, "tiny-llama")
    one, other = prompts(runner)[:2]
    gone, kept = Ask(one, 10_000), Ask(other, TOKENS)

    def leave():
        gone.ticket.is_cancelled = len(gone.tokens) >= 3

    gone.after = leave
    answered(runner, [gone, kept])
    assert kept.tokens == alone(runner, other)
    assert len(gone.tokens) < TOKENS


def test_a_batch_that_fails_is_told_so_and_the_next_one_is_served(settings):
    class Failing(HuggingFaceRunner):
        def model_input_prepare(self, input_dict):
            if input_dict["input_ids"].shape[1] == 40:
                raise RuntimeError("no such kernel")
            if input_dict["input_ids"].shape[1] == 23:
                torch.empty(1 << 60)
            return super().model_input_prepare(input_dict)

    runner = Failing(settings("tiny-llama", data={"ignore_eos": True, "max_new_tokens": TOKENS})).init_model()
    asked = prompts(runner)
    asks = [Ask(asked[0], 20), Ask(asked[3], 4), Ask(asked[1], 4), Ask(asked[2], 4)]
    answered(runner, asks, batch_size=1)
    failed, too_large = asks[1].end, asks[2].end
    assert (asks[0].end, failed, asks[3].end) == ("length", "RuntimeError: no such kernel", "length")
    assert too_large.startswith("OutOfMemory: a batch of 1 requests does not fit the memory of cpu")
    assert asks[3].tokens == alone(runner, asked[2])[:4]


def test_a_graph_serves_requests_that_come_and_go(settings):
    runner = loaded(settings, "tiny-llama")
    asked = prompts(runner)[:5]
    wanted = [alone(runner, prompt) for prompt in asked]
    graph = HuggingFaceRunner({**settings("tiny-llama", data={"ignore_eos": True}), "exe_mode": "ge_graph"})
    graph.init_model()
    asks = [Ask(prompt, TOKENS - number) for number, prompt in enumerate(asked)]
    answered(graph, asks, batch_size=2)
    assert [ask.tokens for ask in asks] == [tokens[: TOKENS - number] for number, tokens in enumerate(wanted)]


def test_text_that_comes_token_by_token_is_the_text_of_all_tokens(settings):
    tokenizer = loaded(settings, "tiny-qwen2").tokenizer
    said = "Say 42 times: 你好, wörld 🙂!\n\n\tdone"
    tokens = tokenizer(said)["input_ids"]
    text = Text(tokenizer)
    pieces = [text.add(token) for token in tokens]
    assert "".join([*pieces, text.rest()]) == said
    assert not any("\ufffd" in piece for piece in pieces)
    cut = Text(tokenizer)
    end = tokenizer("🙂")["input_ids"][:1]
    assert cut.add(end[0]) + cut.rest() == "\ufffd"
