"""The thread that generates: lets waiting requests in between two steps, and hands out each token as it comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import torch

from msprof_runners.serving.rows import Rows

if TYPE_CHECKING:
    from msprof_runners.model_runner import ModelRunner

__all__ = ["Counts", "Event", "GenerationLoop", "Ticket"]

WARM_UP_PROMPT = 8
"""Tokens of the prompt that is answered before anybody asks."""


class Event(NamedTuple):
    """What a request is told: a token, the end, or a failure."""

    token: int | None
    finish_reason: str | None = None
    """`stop` or `length` with the last token."""
    error: str = ""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way."""

    prompt: tuple[int, ...]
    max_tokens: int
    stop_tokens: frozenset[int]
    """Tokens that end the answer; none where it goes on to its length."""
    tell: Callable[[Event], None]
    """Called with each event, where the loop's `deliver` takes it."""
    made: int = 0
    """Tokens so far."""
    is_cancelled: bool = field(default=False)
    """Set by whoever no longer wants the answer."""

    def event(self, token: int) -> Event:
        """Count *token*, and say whether it is the last."""
        self.made += 1
        if token in self.stop_tokens:
            return Event(token, "stop")
        return Event(token, "length" if self.made >= self.max_tokens else None)


@dataclass(slots=True)
class Counts:
    """What was done so far, and what is under way."""

    running: int = 0
    waiting: int = 0
    requests: int = 0
    """Answers that came to their end."""
    input_tokens: int = 0
    output_tokens: int = 0


Delivery = list[tuple[Ticket, Event]]


class GenerationLoop:
    """Generates for many requests at once, in a thread of its own; use it as a context manager.

    *deliver* is called in that thread with the events of each step. Requests that find no place wait,
    first come first served; those that come in together read at most *prefill_tokens* tokens in one
    step, padding included, but at least one request is let in.
    """

    def __init__(
        self,
        runner: ModelRunner,
        deliver: Callable[[Delivery], None],
        *,
        batch_size: int,
        prefill_tokens: int,
        longest: int,
    ) -> None:
        self._deliver, self._pad_token = deliver, runner.pad_token
        self._batch_size, self._prefill_tokens = batch_size, prefill_tokens
        self._rows: Rows[Ticket] = Rows(runner, most=batch_size, longest=longest, static=runner.exe_mode != "eager")
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._counts = Counts()
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether requests will be answered."""
        return self._thread.is_alive()

    @property
    def counts(self) -> Counts:
        """What was done so far; a moment old where the thread is in the middle of a step."""
        with self._changed:
            return replace(self._counts, running=len(self._rows.owners), waiting=len(self._waiting))

    def submit(self, ticket: Ticket) -> None:
        """Put a request in line."""
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify()

    def _run(self) -> None:
        with torch.inference_mode():
            while (joining := self._next()) is not None:
                try:
                    self._turn(joining)
                except Exception as error:  # noqa: BLE001 - whatever one batch meets, the next one is served
                    self._fail([*self._rows.owners, *joining], f"{type(error).__name__}: {error}")

    def _next(self) -> list[Ticket] | None:
        """Wait until there is something to do, and return who comes in; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._waiting or self._rows.owners)
            return None if self._is_closing else self._admitted()

    def _admitted(self) -> list[Ticket]:
        free, found, width = self._batch_size - len(self._rows.owners), list[Ticket](), 0
        while self._waiting and len(found) < free:
            ticket = self._waiting[0]
            width = max(width, len(ticket.prompt))
            if found and width * (len(found) + 1) > self._prefill_tokens:
                break
            self._waiting.popleft()
            if not ticket.is_cancelled:
                found.append(ticket)
        return found

    def _turn(self, joining: Sequence[Ticket]) -> None:
        """Run one step: the prefill of who comes in, or the next token of all who are there."""
        self._rows.leave({ticket for ticket in self._rows.owners if ticket.is_cancelled})
        if joining:
            made = self._rows.join({ticket: ticket.prompt for ticket in joining})
        elif self._rows.owners:
            made = self._rows.step()
        else:
            return
        events = [(ticket, ticket.event(token)) for ticket, token in made.items()]
        ended = {ticket for ticket, event in events if event.finish_reason}
        self._counts.input_tokens += sum(len(ticket.prompt) for ticket in joining)
        self._counts.output_tokens += len(events)
        self._counts.requests += len(ended)
        self._deliver(events)
        self._rows.leave(ended)

    def _fail(self, tickets: Sequence[Ticket], why: str) -> None:
        self._rows.clear()
        self._deliver([(ticket, Event(None, error=why)) for ticket in tickets])

    def warm_up(self) -> None:
        """Answer a prompt before the thread begins, so that no request waits for a compiler."""
        nobody = Ticket((self._pad_token,) * WARM_UP_PROMPT, 2, frozenset(), lambda _event: None)
        with torch.inference_mode():
            self._rows.join({nobody: nobody.prompt})
            for _ in range(2):
                self._rows.step(warm_up=True)
            self._rows.leave({nobody})
