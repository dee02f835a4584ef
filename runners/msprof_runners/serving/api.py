"""The endpoints: OpenAI's completions and chat, streaming or in one piece, and counts; an ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from msprof_runners.serving.answers import Answer, Speech, event
from msprof_runners.serving.bodies import ChatRequest, CompletionRequest, Refused, Wanted, check_words, parsed
from msprof_runners.serving.loop import Delivery, Event, GenerationLoop, Ticket
from pytest_msprof.ids import new_id

if TYPE_CHECKING:
    from msprof_runners.divided_runner import DividedRunner
    from msprof_runners.model_runner import ModelRunner
    from msprof_runners.serving.served import Served

__all__ = ["application"]

Spoken = tuple[str, str | None]
"""A piece of text, and the reason to end with the last one."""

METRICS = {
    "running": "runner_requests_running",
    "waiting": "runner_requests_waiting",
    "requests": "runner_requests_total",
    "input_tokens": "runner_prompt_tokens_total",
    "output_tokens": "runner_generation_tokens_total",
}
"""What `/metrics` calls each count."""


class Endpoint:
    """Serves one model, which *runner* has loaded and begun to serve.

    *batch_size*, *prefill_tokens* and *on_end* are those of the `GenerationLoop`.
    """

    def __init__(
        self,
        runner: ModelRunner | DividedRunner,
        served: Served,
        *,
        name: str,
        batch_size: int,
        prefill_tokens: int,
        on_end: Callable[[str], None],
    ) -> None:
        self._served, self._name = served, name
        self._created = int(time.time())
        self._events: asyncio.AbstractEventLoop | None = None
        self._loop = GenerationLoop(
            runner, served, self._deliver, batch_size=batch_size, prefill_tokens=prefill_tokens, on_end=on_end
        )
        self._loop.warm_up()

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Generate while the application runs."""
        self._events = asyncio.get_running_loop()
        with self._loop:
            yield

    async def health(self, _request: Request) -> Response:
        """Answer 200 while requests will be answered."""
        return Response(status_code=200 if self._loop.is_alive else 503)

    async def models(self, _request: Request) -> Response:
        """Name the one model."""
        facts = {"object": "model", "created": self._created, "owned_by": "pytest-msprof"}
        return JSONResponse(
            {"object": "list", "data": [{"id": self._name, **facts, "max_model_len": self._served.longest}]}
        )

    async def metrics(self, _request: Request) -> Response:
        """Say what was done so far, in the text format of Prometheus."""
        lines = [f"{METRICS[name]} {value}\n" for name, value in asdict(self._loop.counts).items()]
        return PlainTextResponse("".join(lines))

    async def completions(self, request: Request) -> Response:
        """Go on with a text."""
        return await self._answer(request, parsed(await request.body(), CompletionRequest), is_chat=False)

    async def chat(self, request: Request) -> Response:
        """Answer in a talk."""
        return await self._answer(request, parsed(await request.body(), ChatRequest), is_chat=True)

    async def _answer(self, request: Request, wanted: Wanted, *, is_chat: bool) -> Response:
        ticket, queue = self._ticket(wanted)
        answer = Answer(
            new_id(), model=self._name, created=int(time.time()), is_chat=is_chat, prompt_tokens=len(ticket.prompt)
        )
        speech = Speech(self._served.tokenizer, stops=wanted.stops, min_tokens=wanted.min_tokens)
        spoken = _spoken(queue, speech)
        self._loop.submit(ticket)
        if wanted.stream:
            pieces = _pieces(ticket, spoken, speech, answer, wanted)
            return StreamingResponse(pieces, media_type="text/event-stream")
        try:
            return await _whole(request, spoken, speech, answer)
        finally:
            ticket.is_cancelled = True

    def _ticket(self, wanted: Wanted) -> tuple[Ticket, asyncio.Queue[Event]]:
        """Check what is asked against the model, and return it with where its events will come."""
        served = self._served
        if wanted.model not in ("", self._name):
            raise Refused(
                f"the model {wanted.model!r} does not exist (possible: {self._name!r})",
                status=404,
                param="model",
                code="model_not_found",
            )
        prompt = wanted.token_ids(served.tokenizer)
        if not prompt:
            raise Refused("a prompt needs at least one token", param="prompt")
        check_words(wanted.stop_token_ids or (), served.tokenizer, param="stop_token_ids")
        most = wanted.most_tokens(max(served.longest - len(prompt), 1))
        if len(prompt) + most > served.longest:
            raise Refused(
                f"prompt and answer together may have {served.longest} tokens, but the prompt has {len(prompt)} "
                f"and max_tokens is {most}",
                code="context_length_exceeded",
            )
        if wanted.min_tokens > most:
            raise Refused(
                f"min_tokens must be at most max_tokens {most}, but is {wanted.min_tokens}", param="min_tokens"
            )
        queue: asyncio.Queue[Event] = asyncio.Queue()
        ends = wanted.ends(served.stop_tokens)
        return Ticket(prompt, most, ends, queue.put_nowait, wanted.sampling(ends)), queue

    def _deliver(self, delivery: Delivery) -> None:
        """Carry events from the thread that generates to the one that serves."""
        if self._events is not None:
            with suppress(RuntimeError):  # its loop is closed: nobody waits any more
                self._events.call_soon_threadsafe(_hand_out, delivery)


async def _pieces(
    ticket: Ticket, spoken: AsyncIterator[Spoken], speech: Speech, answer: Answer, wanted: Wanted
) -> AsyncIterator[bytes]:
    """Yield the events of a stream."""
    try:
        async for piece, finish_reason in spoken:
            if piece or finish_reason:
                yield answer.piece(piece, finish_reason, tokens=speech.tokens if wanted.counts_every_piece else None)
        if wanted.has_usage:
            yield answer.counted(speech.tokens)
        yield b"data: [DONE]\n\n"
    except Refused as failure:
        yield event(failure.body)
    finally:
        ticket.is_cancelled = True


async def _whole(request: Request, spoken: AsyncIterator[Spoken], speech: Speech, answer: Answer) -> Response:
    """Wait for the whole answer, or for the client to go."""
    collecting = asyncio.ensure_future(_collected(spoken))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            return Response(status_code=499)
        text, finish_reason = collecting.result()
    finally:
        collecting.cancel()
        leaving.cancel()
    return JSONResponse(answer.whole(text, tokens=speech.tokens, finish_reason=finish_reason))


def application(
    runner: ModelRunner | DividedRunner,
    served: Served,
    *,
    name: str,
    batch_size: int,
    prefill_tokens: int,
    on_end: Callable[[str], None] = lambda _why: None,
) -> Starlette:
    """Return the application that serves the model of *runner* under *name*; see `Endpoint`."""
    endpoint = Endpoint(runner, served, name=name, batch_size=batch_size, prefill_tokens=prefill_tokens, on_end=on_end)
    return Starlette(
        routes=[
            Route("/health", endpoint.health),
            Route("/metrics", endpoint.metrics),
            Route("/v1/models", endpoint.models),
            Route("/v1/completions", endpoint.completions, methods=["POST"]),
            Route("/v1/chat/completions", endpoint.chat, methods=["POST"]),
        ],
        exception_handlers={Refused: _refusal, HTTPException: _refusal},
        lifespan=endpoint.lifespan,
    )


async def _refusal(_request: Request, error: Exception) -> Response:
    refused = error if isinstance(error, Refused) else Refused(str(error), status=500)
    if isinstance(error, HTTPException):
        refused = Refused(error.detail, status=error.status_code)
    return JSONResponse(refused.body, status_code=refused.status)


def _hand_out(delivery: Delivery) -> None:
    for ticket, happened in delivery:
        ticket.tell(happened)


async def _spoken(queue: asyncio.Queue[Event], speech: Speech) -> AsyncIterator[Spoken]:
    """Yield what each token adds, with the reason to end; raises `Refused` where the model failed."""
    finish_reason = None
    while finish_reason is None:
        token, finish_reason, error = await queue.get()
        if token is None:
            raise Refused(error, status=500)
        piece, finish_reason = speech.add(token, finish_reason)
        yield piece, finish_reason


async def _collected(spoken: AsyncIterator[Spoken]) -> Spoken:
    found = [entry async for entry in spoken]
    return "".join(piece for piece, _ in found), found[-1][1]


async def _left(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
