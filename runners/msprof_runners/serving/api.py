"""The endpoints: OpenAI's completions and chat, streaming or in one piece, and counts; an ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from msprof_runners.serving.answers import Answer, Text, event
from msprof_runners.serving.bodies import ChatRequest, CompletionRequest, Refused, Wanted, parsed
from msprof_runners.serving.loop import Delivery, Event, GenerationLoop, Ticket
from pytest_msprof.ids import new_id

if TYPE_CHECKING:
    from msprof_runners.model_runner import ModelRunner

__all__ = ["application"]

METRICS = {
    "running": "runner_requests_running",
    "waiting": "runner_requests_waiting",
    "requests": "runner_requests_total",
    "input_tokens": "runner_prompt_tokens_total",
    "output_tokens": "runner_generation_tokens_total",
}
"""What `/metrics` calls each count."""


class Endpoint:
    """Serves one model, which *runner* has loaded.

    A prompt and its answer have at most *longest* tokens together; *batch_size* and *prefill_tokens*
    are those of the `GenerationLoop`.
    """

    def __init__(self, runner: ModelRunner, *, name: str, longest: int, batch_size: int, prefill_tokens: int) -> None:
        self._runner, self._name, self._longest = runner, name, longest
        self._created = int(time.time())
        self._events: asyncio.AbstractEventLoop | None = None
        self._loop = GenerationLoop(
            runner, self._deliver, batch_size=batch_size, prefill_tokens=prefill_tokens, longest=longest
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
        return JSONResponse({"object": "list", "data": [{"id": self._name, **facts, "max_model_len": self._longest}]})

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
        self._loop.submit(ticket)
        if wanted.stream:
            pieces = self._pieces(ticket, queue, answer, counts=wanted.has_usage)
            return StreamingResponse(pieces, media_type="text/event-stream")
        return await self._whole(request, ticket, queue, answer)

    def _ticket(self, wanted: Wanted) -> tuple[Ticket, asyncio.Queue[Event]]:
        """Check what is asked against the model, and return it with where its events will come."""
        if wanted.model not in ("", self._name):
            raise Refused(
                f"the model {wanted.model!r} does not exist (possible: {self._name!r})",
                status=404,
                param="model",
                code="model_not_found",
            )
        prompt = wanted.token_ids(self._runner.tokenizer)
        if not prompt:
            raise Refused("a prompt needs at least one token", param="prompt")
        most = wanted.most_tokens(max(self._longest - len(prompt), 1))
        if len(prompt) + most > self._longest:
            raise Refused(
                f"prompt and answer together may have {self._longest} tokens, but the prompt has {len(prompt)} "
                f"and max_tokens is {most}",
                code="context_length_exceeded",
            )
        queue: asyncio.Queue[Event] = asyncio.Queue()
        stops = frozenset[int]() if wanted.ignore_eos else self._runner.stop_tokens
        return Ticket(prompt, most, stops, queue.put_nowait), queue

    def _deliver(self, delivery: Delivery) -> None:
        """Carry events from the thread that generates to the one that serves."""
        if self._events is not None:
            with suppress(RuntimeError):  # its loop is closed: nobody waits any more
                self._events.call_soon_threadsafe(_hand_out, delivery)

    async def _pieces(
        self, ticket: Ticket, queue: asyncio.Queue[Event], answer: Answer, *, counts: bool
    ) -> AsyncIterator[bytes]:
        text = Text(self._runner.tokenizer)
        try:
            async for token, finish_reason in _tokens(queue):
                piece = text.add(token) + (text.rest() if finish_reason else "")
                if piece or finish_reason:
                    yield answer.piece(piece, finish_reason)
            if counts:
                yield answer.counted(ticket.made)
            yield b"data: [DONE]\n\n"
        except Refused as failure:
            yield event(failure.body)
        finally:
            ticket.is_cancelled = True

    async def _whole(self, request: Request, ticket: Ticket, queue: asyncio.Queue[Event], answer: Answer) -> Response:
        """Wait for the whole answer, or for the client to go."""
        collecting = asyncio.ensure_future(_collected(queue))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not collecting.done():
                return Response(status_code=499)
            tokens, finish_reason = collecting.result()
        finally:
            ticket.is_cancelled = True
            collecting.cancel()
            leaving.cancel()
        text = self._runner.tokenizer.decode(tokens, skip_special_tokens=True)
        return JSONResponse(answer.whole(text, tokens=len(tokens), finish_reason=finish_reason))


def application(runner: ModelRunner, *, name: str, longest: int, batch_size: int, prefill_tokens: int) -> Starlette:
    """Return the application that serves the model of *runner* under *name*; see `Endpoint`."""
    served = Endpoint(runner, name=name, longest=longest, batch_size=batch_size, prefill_tokens=prefill_tokens)
    return Starlette(
        routes=[
            Route("/health", served.health),
            Route("/metrics", served.metrics),
            Route("/v1/models", served.models),
            Route("/v1/completions", served.completions, methods=["POST"]),
            Route("/v1/chat/completions", served.chat, methods=["POST"]),
        ],
        exception_handlers={Refused: _refusal, HTTPException: _refusal},
        lifespan=served.lifespan,
    )


async def _refusal(_request: Request, error: Exception) -> Response:
    refused = error if isinstance(error, Refused) else Refused(str(error), status=500)
    if isinstance(error, HTTPException):
        refused = Refused(error.detail, status=error.status_code)
    return JSONResponse(refused.body, status_code=refused.status)


def _hand_out(delivery: Delivery) -> None:
    for ticket, happened in delivery:
        ticket.tell(happened)


async def _tokens(queue: asyncio.Queue[Event]) -> AsyncIterator[tuple[int, str | None]]:
    """Yield each token with the reason to end; raises `Refused` where the model failed."""
    while True:
        token, finish_reason, error = await queue.get()
        if token is None:
            raise Refused(error, status=500)
        yield token, finish_reason
        if finish_reason:
            return


async def _collected(queue: asyncio.Queue[Event]) -> tuple[list[int], str | None]:
    found = [entry async for entry in _tokens(queue)]
    return [token for token, _ in found], found[-1][1]


async def _left(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
