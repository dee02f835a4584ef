"""A small discrete-event simulation of continuous batching with a KV budget.

After Yu et al., Orca, 2022 (scheduling by iteration), Kwon et al., PagedAttention, 2023 (blocks,
preemption by recomputation), and Agrawal et al., Sarathi-Serve, 2024 (chunked prefill).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

__all__ = ["CHAT", "DOCUMENTS", "Traffic", "continuous"]

STAGGER = 0.02
"""Seconds between the first requests of two clients."""


class Traffic(NamedTuple):
    """What clients ask, of a server with so much memory, and how long they will wait."""

    prompt: int
    answer: int
    memory: float
    first: float
    """Seconds that nine of ten requests may wait for their first token."""
    pace: float
    """Seconds that nine of ten may wait for each further one."""


CHAT = Traffic(200, 60, 40.0, 1.5, 0.05)
DOCUMENTS = Traffic(500, 40, 38.0, 4.0, 0.10)


@dataclass(slots=True)
class _Request:
    prompt: int
    answer: int
    due: float = 0.0
    first: float = 0.0
    done: float = 0.0
    filled: int = 0
    made: int = 0

    def blocks(self, size: int) -> int:
        return -(-(self.filled + self.made) // size)


@dataclass(slots=True)
class _Server:
    """One engine; each call of `step` is one iteration of its scheduler."""

    seqs: int
    tokens: int
    blocks: int
    block: int
    chunked: bool
    prefill_first: bool
    requests: list[_Request]
    waiting: list[tuple[float, int]] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    asked: int = 0
    clock: float = 0.0

    def ask(self, when: float) -> None:
        if self.asked < len(self.requests):
            self.requests[self.asked].due = when
            heapq.heappush(self.waiting, (when, self.asked))
            self.asked += 1

    def step(self) -> None:
        if not self.running:
            self.clock = max(self.clock, self.waiting[0][0])
        decoding = [number for number in self.running if self._is_filled(number)]
        used = sum(self.requests[number].blocks(self.block) for number in self.running)
        budget = self.tokens - (0 if self.prefill_first else len(decoding))
        used = self._admit(used, budget)
        work = self._prefill(budget)
        if self.prefill_first and work and not self.chunked:
            decoding = []
        self.clock += 0.006 + 2.4e-5 * work + 2.2e-4 * len(decoding) + 9.6e-6 * used / self.block + 0.0012 / self.block
        for number in decoding:
            if number in self.running:
                used = self._decode(number, used)

    def _is_filled(self, number: int) -> bool:
        return self.requests[number].filled >= self.requests[number].prompt

    def _admit(self, used: int, budget: int) -> int:
        """Start what is due and fits; return the blocks that are taken then."""
        while self.waiting and self.waiting[0][0] <= self.clock and len(self.running) < self.seqs and budget > 0:
            number = self.waiting[0][1]
            prompt = self.requests[number].prompt
            need = -(-prompt // self.block)
            if used + need > self.blocks or (not self.chunked and prompt > budget):
                break
            heapq.heappop(self.waiting)
            self.running.append(number)
            used += need
            budget -= 0 if self.chunked else prompt
        return used

    def _prefill(self, budget: int) -> int:
        work = 0
        for number in self.running:
            request = self.requests[number]
            share = min(request.prompt - request.filled, max(budget - work, 0))
            request.filled += share
            work += share
        return work

    def _decode(self, number: int, used: int) -> int:
        """Make one token, after preempting the youngest where its block does not fit; return the blocks taken."""
        request = self.requests[number]
        if request.made % self.block == 0:
            while used + 1 > self.blocks:
                victim = max(self.running)
                used -= self._preempt(victim)
                if victim == number:
                    return used
            used += 1
        request.made += 1
        request.first = request.first or self.clock
        if request.made >= request.answer:
            request.done = self.clock
            self.running.remove(number)
            self.ask(self.clock)
        return used

    def _preempt(self, victim: int) -> int:
        """Give a request back, to be computed again; return the blocks that it leaves."""
        request = self.requests[victim]
        left = max(1, request.blocks(self.block))
        self.running.remove(victim)
        request.filled = request.made = 0
        heapq.heappush(self.waiting, (self.clock, victim))
        self.clock += 0.01
        return left


@cache
def continuous(
    traffic: Traffic, *, load: int, seqs: int, tokens: int, blocks: int, block: int, chunked: bool, prefill_first: bool
) -> tuple[float, tuple[float, float]]:
    """Return token/s, and TTFT and TPOT (p90) over their limits, of a closed loop of *load* clients.

    Raises `MemoryError` where the server does not start.
    """
    room = blocks * block
    needed = room * 0.0011 + tokens * 0.004
    if room < traffic.prompt * 3 or needed > traffic.memory or (not chunked and tokens < 1.5 * traffic.prompt):
        raise MemoryError
    draws, count = np.random.default_rng(0), 64 + 2 * load
    prompts, answers = draws.poisson(traffic.prompt, count), 1 + draws.geometric(1 / traffic.answer, count)
    requests = [
        _Request(int(prompt), min(int(answer), 4 * traffic.answer))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    server = _Server(seqs, tokens, blocks, block, chunked, prefill_first, requests)
    for client in range(load):
        server.ask(STAGGER * client)
    while not all(request.done for request in requests):
        server.step()
    wait = [request.first - request.due for request in requests]
    pace = [(request.done - request.first) / max(1, request.answer - 1) for request in requests]
    ratios = float(np.quantile(wait, 0.9)) / traffic.first, float(np.quantile(pace, 0.9)) / traffic.pace
    return sum(request.answer for request in requests) / server.clock, ratios
