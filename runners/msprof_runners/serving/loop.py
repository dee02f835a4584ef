"""The thread that generates: lets waiting requests in between two steps, and hands out each token as it comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from msprof_runners.serving.rows import Request
from msprof_runners.serving.sampling import Sampling

if TYPE_CHECKING:
    from msprof_runners.divided_runner import DividedRunner
    from msprof_runners.model_runner import ModelRunner
    from msprof_runners.serving.served import Served

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
    sampling: Sampling = field(default_factory=Sampling)
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

    *runner* has begun to serve *batch_size* requests at most. *deliver* is called in that thread with the
    events of each step. Requests that find no place wait, first come first served; those that come in
    together read at most *prefill_tokens* tokens in one step, padding included, but at least one request
    is let in. *on_end* is called in that thread when the model is lost, and nothing more can be answered.
    """

    def __init__(
        self,
        runner: ModelRunner | DividedRunner,
        served: Served,
        deliver: Callable[[Delivery], None],
        *,
        batch_size: int,
        prefill_tokens: int,
        on_end: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._runner, self._rows = runner, runner.rows
        self._deliver, self._pad_token, self._on_end = deliver, served.pad_token, on_end
        self._batch_size, self._prefill_tokens = batch_size, prefill_tokens
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._lost = ""
        """Why nothing more can be answered."""
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
        """Put a request in line; it is told at once where nothing more can be answered."""
        with self._changed:
            if not self._lost:
                self._waiting.append(ticket)
                self._changed.notify()
                return
        self._deliver([(ticket, Event(None, error=self._lost))])

    def _run(self) -> None:
        while (joining := self._next()) is not None:
            try:
                self._turn(joining)
            except Exception as error:  # noqa: BLE001 - whatever one batch meets, the next one is served
                why = f"{type(error).__name__}: {error}"
                self._fail([*self._rows.owners, *joining], why)
                if not self._runner.is_loaded:
                    self._end(why)
                    return

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
            made = self._rows.join({ticket: Request(ticket.prompt, ticket.sampling) for ticket in joining})
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
        if self._runner.is_loaded:
            self._rows.clear()
        self._deliver([(ticket, Event(None, error=why)) for ticket in dict.fromkeys(tickets)])

    def _end(self, why: str) -> None:
        """Tell everybody that the model is lost."""
        with self._changed:
            self._lost = why
            waiting, self._waiting = self._waiting, deque()
        self._deliver([(ticket, Event(None, error=why)) for ticket in waiting])
        self._on_end(why)

    def warm_up(self) -> None:
        """Answer a prompt before the thread begins, so that no request waits for a compiler."""
        nobody = Ticket((self._pad_token,) * WARM_UP_PROMPT, 2, frozenset(), lambda _event: None)
        self._rows.join({nobody: Request(nobody.prompt)})
        for _ in range(2):
            self._rows.step(warm_up=True)
        self._rows.leave({nobody})
