"""A simulated server that batches continuously, for the problems of `other_problems`.

Requests join and leave a batch at every step (Yu et al., Orca, 2022); one that cannot grow takes the place of the
youngest, whose tokens are computed again or swapped (Kwon et al., PagedAttention, 2023); chunks of a prompt share the
steps of those who decode (Agrawal et al., Sarathi-Serve, 2024).
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from problems import Found

__all__ = ["chat", "summaries"]

SMALL, LARGE = 23.4, 46.5
"""GB that may be taken of the devices of the chat and the summaries."""


class _Traffic(NamedTuple):
    """What the clients of a closed loop ask, and how long nine of ten of them may wait, in seconds."""

    clients: int
    requests: int
    prompt: int
    answer: int
    first: float
    pace: float


class _Engine(NamedTuple):
    """What a configuration comes to: limits in requests and tokens, times in seconds."""

    seqs: int
    tokens: int
    room: float
    """Tokens that the cache holds."""
    block: int
    chunked: bool
    spare: float
    """Share of the cache that new requests leave free, so that running ones can grow."""
    restore: float
    """Seconds a token to bring a preempted request back; 0 where it is computed again."""
    fixed: float
    sequence: float
    token: float


@dataclass(slots=True)
class _Request:
    """One request: *fill* tokens to compute before its next one, *made* tokens of its answer before it joined."""

    number: int
    prompt: int
    answer: int
    due: float = 0.0
    fill: int = 0
    made: int = 0
    first: float = 0.0
    done: float = 0.0
    joined: int = 0
    """Steps of decoding that the server had made when this request joined them."""


@dataclass(slots=True)
class _Server:
    """A server that batches continuously; all who decode make one token a step, so a count of steps tells whose."""

    engine: _Engine
    unasked: deque[_Request]
    waiting: deque[_Request] = field(default_factory=deque)
    filling: deque[_Request] = field(default_factory=deque)
    decoding: dict[int, _Request] = field(default_factory=dict)
    ends: list[tuple[int, int, int]] = field(default_factory=list)
    """When a request ends in steps of decoding, its number, and when it joined; those of preempted ones are stale."""
    fresh: list[_Request] = field(default_factory=list)
    """Requests whose prompt ends in this step, which shows their first token."""
    clock: float = 0.0
    steps: int = 0
    used: float = 0.0

    def ask(self) -> None:
        """Let a client send its next request."""
        if self.unasked:
            request = self.unasked.popleft()
            request.due, request.fill = self.clock, request.prompt
            self.waiting.append(request)

    def run(self) -> None:
        """Serve all requests."""
        while self.waiting or self.filling or self.decoding:
            self._admit()
            stalls = bool(self.filling) and not self.engine.chunked
            work = self._fill(self.engine.tokens - (0 if stalls else len(self.decoding)))
            self._decode(0 if stalls else len(self.decoding), work)

    def _admit(self) -> None:
        free = self.engine.room * (1 - self.engine.spare)
        while self.waiting and len(self.decoding) + len(self.filling) < self.engine.seqs:
            request = self.waiting[0]
            held = request.prompt + request.made + self.engine.block / 2
            if self.used + held > free and (self.decoding or self.filling):
                return
            self.waiting.popleft()
            self.used += held
            self.filling.append(request)

    def _fill(self, budget: int) -> int:
        """Compute prompts up to the budget of tokens; return how many were computed."""
        work = 0
        while self.filling and work < budget:
            request = self.filling[0]
            if not self.engine.chunked and work and request.fill > budget - work:
                break
            share = min(request.fill, budget - work) if self.engine.chunked else request.fill
            request.fill -= share
            work += share
            if request.fill == 0:
                self.fresh.append(self.filling.popleft())
        for request in self.fresh:
            self._join(request)
        return work

    def _join(self, request: _Request) -> None:
        request.joined = self.steps - request.made
        self.decoding[request.number] = request
        heapq.heappush(self.ends, (request.joined + request.answer, request.number, request.joined))

    def _decode(self, batch: int, work: int) -> None:
        """Make one token of each in the batch, or as many as change nothing else; then see who is done."""
        engine = self.engine
        pause = engine.fixed + engine.token * (work + batch) + engine.sequence * batch
        pause += engine.sequence * 5 / engine.block * batch
        self.clock += pause
        self._show()
        if batch:
            count = self._alike(batch) if not work else 1
            self.clock += pause * (count - 1)
            self.steps += count
            self.used += batch * count
            self._finish()
            self._preempt()

    def _alike(self, batch: int) -> int:
        """Return how many steps pass before a request ends or the cache is full; none enters before."""
        ends = self.ends[0][0] - self.steps
        room = int((self.engine.room - self.used) / batch)
        return max(1, min(ends, room))

    def _finish(self) -> None:
        while self.ends and (self.ends[0][0] <= self.steps or self._is_stale(self.ends[0])):
            entry = heapq.heappop(self.ends)
            if self._is_stale(entry):
                continue
            request = self.decoding.pop(entry[1])
            request.done = self.clock
            self.used -= request.prompt + request.answer + self.engine.block / 2
            self.ask()

    def _is_stale(self, entry: tuple[int, int, int]) -> bool:
        request = self.decoding.get(entry[1])
        return request is None or request.joined != entry[2]

    def _preempt(self) -> None:
        """Give the youngest back while the cache is over-subscribed."""
        while self.used > self.engine.room and len(self.decoding) > 1:
            _, request = self.decoding.popitem()
            request.made = self.steps - request.joined
            self.used -= request.prompt + request.made + self.engine.block / 2
            if self.engine.restore:
                self.clock += self.engine.restore * (request.prompt + request.made)
                request.fill = 1
            else:
                request.fill = request.prompt + request.made
            self.waiting.appendleft(request)

    def _show(self) -> None:
        """Note when first tokens are shown; what a preempted request had shown stays."""
        for request in self.fresh:
            request.first = request.first or self.clock
        self.fresh.clear()


def _serve(traffic: _Traffic, engine: _Engine) -> Found:
    """Return token/s, and TTFT and TPOT (p90) over their limits."""
    draws = np.random.default_rng(5)
    prompts = draws.gamma(4.0, traffic.prompt / 4.0, traffic.requests)
    answers = draws.gamma(2.0, traffic.answer / 2.0, traffic.requests)
    requests = [
        _Request(number, min(16 + int(prompt), 3 * traffic.prompt), min(4 + int(answer), 4 * traffic.answer))
        for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    server = _Server(engine, deque(requests))
    for _ in range(traffic.clients):
        server.ask()
    server.run()
    first = np.quantile([request.first - request.due for request in requests], 0.9)
    pace = np.quantile([(request.done - request.first) / request.answer for request in requests], 0.9)
    tokens = sum(request.answer for request in requests)
    return tokens / server.clock, (float(first) / traffic.first, float(pace) / traffic.pace)


CHAT = _Traffic(clients=64, requests=160, prompt=300, answer=120, first=4.0, pace=0.055)
SUMMARIES = _Traffic(clients=48, requests=120, prompt=900, answer=240, first=18.0, pace=0.09)


@cache
def chat(*, seqs: int, tokens: int, memory: float, block: int, chunked: bool, eager: bool) -> Found:
    """Return a simulated chat on a device of 24 GB with 16.2 GB of weights, 131 kB a token of the cache."""
    graphs = 0.0 if eager else 0.5 + seqs * 4e-3
    room = (24 * memory - 16.2 - 0.5 - tokens * 2e-4) / 131e-6
    longest = 5 * CHAT.prompt
    if 24 * memory + graphs > SMALL or room < longest or (not chunked and tokens < longest):
        raise MemoryError
    fixed = 0.015 + (0.006 if eager else 0.0)
    return _serve(CHAT, _Engine(seqs, tokens, room, block, chunked, 0.01, 0.0, fixed, 1.2e-4, 5e-5))


@cache
def summaries(*, seqs: int, tokens: int, memory: float, spare: float, swap: bool, kv: str) -> Found:
    """Return simulated summaries, chunked, on a device of 48 GB with 28 GB of weights, 400 kB a token of the cache."""
    width = 0.5 if kv == "fp8" else 1.0
    swapped = 2.0 if swap else 0.0
    room = (48 * memory - 28 - 1.0 - tokens * 4e-4 - seqs * 6e-3) / (400e-6 * width)
    longest = 5 * SUMMARIES.prompt
    if 48 * memory + swapped > LARGE or room * (1 - spare) < longest:
        raise MemoryError
    restore = 1.2e-5 * width if swap else 0.0
    sequence = 3.5e-4 * (1.0 if kv == "auto" else 0.8)
    return _serve(SUMMARIES, _Engine(seqs, tokens, room, 16, True, spare, restore, 0.022, sequence, 9e-5))
