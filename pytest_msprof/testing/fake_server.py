"""An engine that behaves as told: the program behind `FakeEngine`.

It speaks the OpenAI endpoints over plain HTTP/1.1 and needs the standard library only, so that it
answers within a tenth of a second of its start. Token *i* of a request leaves at the moment the
request got a slot, plus `--ttft`, plus *i* times `--itl`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import selectors
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

FAILURES = ("cut", "close", "truncate", "hang", "silent", "empty", "garbage", "error-event")
KNOWN_FIELDS = {
    "model",
    "prompt",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "temperature",
    "generation_config",
}
"""Body fields of the transformers dialect; others are refused with 422."""
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
DEFAULT_TOKENS = 16


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read how to behave."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8000)
    add("--model", default="fake", help="the one model it knows")
    add("--dialect", choices=["vllm", "transformers"], default="vllm")
    add("--ttft", type=float, default=0.02, help="seconds to the first token")
    add("--itl", type=float, default=0.002, help="seconds between tokens")
    add("--slowdown", type=float, default=0.0, help="share by which each further running request slows all")
    add("--capacity", type=int, default=0, help="requests at a time, the others queue; 0 is unlimited")
    add("--word", default="token", help="the one word that answers are made of")
    add("--tokens-per-event", type=int, default=1)
    add("--no-done", action="store_true", help="end streams without [DONE]")
    add("--no-usage", action="store_true", help="never say how many tokens there were")
    add("--max-model-len", type=int, default=0, help="refuse longer requests with 400")
    add("--api-key", default="", help="refuse requests without this key with 401")
    add("--fail", default="http500", help=f"httpNNN or one of {', '.join(FAILURES)}")
    add("--fail-every", type=int, default=0, help="fail each N-th request")
    add("--fail-after", type=int, default=0, help="let the first N requests pass")
    add("--crash-after", type=int, default=0, help="die in the middle of the N-th request")
    add("--exit-at-start", type=int, default=None, metavar="CODE")
    add("--say", default="", help="last words before an exit")
    add("--oom", action="store_true", help="run out of memory at the start")
    add("--start-delay", type=float, default=0.0, help="seconds before it listens")
    add("--hang-at-start", action="store_true", help="never listen")
    add("--unhealthy", action="store_true", help="answer /health with 503")
    add("--stubborn", action="store_true", help="ignore SIGTERM")
    add("--script", default="", help="JSON file: what to send, byte for byte, to each request")
    add("--certificate", default="", help="PEM file with key and certificate: speak TLS")
    add("--record", action="store_true", help="tell at /record what came, and what was sent when")
    add("--many", action="store_true", help="allow over 1000 connections; timers get a millisecond coarser")
    return parser.parse_args(argv)


class Engine:
    """The state that all connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.slots = asyncio.Semaphore(options.capacity or sys.maxsize)
        self.numbers = itertools.count(1)
        self.running = self.most_running = self.connections = self.received = 0
        self.script = json.loads(Path(options.script).read_text(encoding="utf-8")) if options.script else None
        self.record: list[dict[str, Any]] = []

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait for a slot; give the factor by which the company slows this request."""
        async with self.slots:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                yield 1 + self.options.slowdown * (self.running - 1)
            finally:
                self.running -= 1

    def failure(self, number: int) -> str:
        """Name what goes wrong with request *number*, empty for nothing."""
        options = self.options
        chosen = options.fail_every and number > options.fail_after and number % options.fail_every == 0
        return str(options.fail) if chosen else ""

    def stats(self) -> dict[str, int]:
        """Say what came in so far."""
        return {"requests": self.received, "connections": self.connections, "most_running": self.most_running}


class Connection(asyncio.Protocol):
    """One client; requests on it are answered one after the other."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.buffer = b""
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - the type of a stream server's transport
        self.transport = transport
        self.engine.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of a protocol
        """Stop working for a client that went away."""
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer each request as soon as it is complete."""
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        method, path, _ = first.split(" ", 2)
        self.task = asyncio.ensure_future(
            Answer(self.engine, self.transport, headers).give(method, path, rest[:length])
        )


class Answer:
    """The answer to one request."""

    def __init__(self, engine: Engine, transport: asyncio.Transport, headers: dict[str, str]) -> None:
        self.engine, self.options = engine, engine.options
        self.transport, self.headers = transport, headers
        self.arrived = time.monotonic()
        self.sent: list[tuple[float, int]] = []

    async def give(self, method: str, path: str, body: bytes) -> None:
        """Find what is asked for, and send it."""
        path = path.partition("?")[0]
        if method == "POST" and path in ("/v1/completions", "/v1/chat/completions"):
            try:
                await self.generate(json.loads(body), chat="chat" in path)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                self.whole(400, {"error": {"message": f"the request cannot be read: {error!r}"}})
        elif path == "/health":
            self.whole(
                503 if self.options.unhealthy else 200, {"status": "unhealthy" if self.options.unhealthy else "ok"}
            )
        elif path == "/v1/models":
            self.whole(200, {"object": "list", "data": [{"id": self.options.model, "object": "model"}]})
        elif path == "/version":
            self.whole(200, {"version": "fake"})
        elif path == "/stats":
            self.whole(200, self.engine.stats())
        elif path == "/record":
            self.whole(200, self.engine.record)
        else:
            self.whole(404, {"error": {"message": f"no such path: {path}"}})

    async def generate(self, body: dict[str, Any], *, chat: bool) -> None:
        """Answer a completion or chat request, or fail it as told."""
        number = next(self.engine.numbers)
        self.engine.received += 1
        try:
            if refusal := self.refusal(body):
                self.whole(*refusal)
            elif self.engine.script is not None:
                await self.play(self.engine.script)
            else:
                await self.tokens(Text(body, self.options, chat=chat), number)
        finally:
            if self.options.record:
                row = {"number": number, "arrived": self.arrived, "sent": self.sent, "body": body}
                self.engine.record.append(row)

    def refusal(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Say why this request is not answered."""
        options, transformers = self.options, self.options.dialect == "transformers"
        if options.api_key and self.headers.get("authorization") != f"Bearer {options.api_key}":
            return 401, {"error": "Unauthorized"}
        if body.get("model") != options.model:
            return 400 if transformers else 404, {
                "error": {"message": f"The model {body.get('model')!r} does not exist."}
            }
        if transformers and (unknown := set(body) - KNOWN_FIELDS):
            return 422, {"detail": f"Unexpected fields in the request: {unknown}"}
        if options.max_model_len and prompt_tokens(body) + wanted_tokens(body) > options.max_model_len:
            return 400, {"error": {"message": f"the maximum context length is {options.max_model_len} tokens"}}
        return None

    async def tokens(self, text: Text, number: int) -> None:
        """Send the tokens at their times."""
        failure = self.engine.failure(number)
        if failure.startswith("http"):
            self.whole(int(failure[4:]), {"error": {"message": "failed as told"}})
            return
        async with self.engine.slot() as slower:
            start, itl = time.monotonic() + self.options.ttft, self.options.itl * slower
            if failure == "silent":
                await asyncio.Event().wait()
            if not text.stream:
                await until(start + itl * (text.count - 1))
                self.whole(200, text.whole())
                return
            self.transport.write(head(200, "text/event-stream", "Transfer-Encoding: chunked"))
            half = text.count // 2
            for index, event in text.events(empty=failure == "empty"):
                if index >= 0:
                    await until(start + itl * index)
                self.send(event, min(text.step, text.count - index) if index >= 0 else 0)
                if failure and index + text.step >= half and self.broke(failure):
                    return
                if failure == "hang" and index + text.step >= half:
                    await asyncio.Event().wait()
                if number == self.options.crash_after and index + text.step >= half:
                    last_words(self.options.say or "RuntimeError: engine core died")
                    os._exit(1)
            for event in text.ending():
                self.send(event)
            self.transport.write(b"0\r\n\r\n")

    def broke(self, failure: str) -> bool:
        """End an answer in the middle, in the way *failure* says."""
        if failure == "cut":
            self.transport.abort()
        elif failure == "close":
            self.transport.close()
        elif failure in ("truncate", "error-event", "garbage"):
            if failure == "error-event":
                self.send(b'data: {"error": {"message": "failed as told", "code": 500}}\n\ndata: [DONE]\n\n')
            elif failure == "garbage":
                self.send(b'data: {"choices": [{"text": \n\ndata: [DONE]\n\n')
            self.transport.write(b"0\r\n\r\n")
        else:
            return False
        return True

    async def play(self, script: dict[str, Any]) -> None:
        """Send a script of `[[offset, latin-1 text], …]`, then end as it says."""
        for offset, text in script["steps"]:
            await until(self.arrived + offset)
            self.sent.append((time.monotonic(), 0))
            self.transport.write(text.encode("latin-1"))
        if script["end"] == "reset":
            self.transport.abort()
        elif script["end"] == "close":
            self.transport.close()
        elif script["end"] == "hold":
            await asyncio.Event().wait()

    def send(self, data: bytes, tokens: int = 0) -> None:
        """Note the time, and write one event as one HTTP chunk."""
        self.sent.append((time.monotonic(), tokens))
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def whole(self, status: int, value: object) -> None:
        """Answer with one JSON document."""
        body = json.dumps(value).encode()
        self.transport.write(head(status, "application/json", f"Content-Length: {len(body)}") + body)


class Text:
    """What to say to one request: known words, the asked-for number of them."""

    def __init__(self, body: dict[str, Any], options: argparse.Namespace, *, chat: bool) -> None:
        self.options, self.chat = options, chat
        self.stream = bool(body.get("stream"))
        self.count, self.step = wanted_tokens(body), options.tokens_per_event
        asked = (body.get("stream_options") or {}).get("include_usage")
        self.with_usage = not options.no_usage and (bool(asked) or options.dialect == "transformers")
        self.with_done = not options.no_done and options.dialect != "transformers"
        total = {"prompt_tokens": prompt_tokens(body), "completion_tokens": self.count}
        self.usage = total | {"total_tokens": sum(total.values())}

    def events(self, *, empty: bool = False) -> Iterator[tuple[int, bytes]]:
        """Give each event with the number of its first token; a chat begins with its role, at once."""
        if self.chat:
            yield -1, self.event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        full = self.event([self.choice(0 if empty else self.step)])
        for index in range(0, self.count, self.step):
            left = self.count - index
            if left > self.step:
                yield index, full
            else:
                yield index, self.event([self.choice(0 if empty else left, "length")])

    def ending(self) -> Iterator[bytes]:
        """Give what follows the last token."""
        if self.with_usage:
            yield self.event([], usage=self.usage)
        if self.with_done:
            yield b"data: [DONE]\n\n"

    def choice(self, words: int, finish_reason: str | None = None) -> dict[str, Any]:
        """Make the part of an event that carries *words* words."""
        text = f" {self.options.word}" * words
        content: dict[str, Any] = {"delta": {"content": text}} if self.chat else {"text": text}
        return {"index": 0, **content, "finish_reason": finish_reason}

    def event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        """Frame one event."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        value = {"id": "fake-1", "object": kind, "model": self.options.model, "choices": choices, **more}
        return f"data: {json.dumps(value)}\n\n".encode()

    def whole(self) -> dict[str, Any]:
        """Make the answer to a request that does not stream."""
        text = f" {self.options.word}" * self.count
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **content, "finish_reason": "length"}
        kind = "chat.completion" if self.chat else "text_completion"
        return {"id": "fake-1", "object": kind, "model": self.options.model, "choices": [choice], "usage": self.usage}


def prompt_tokens(body: dict[str, Any]) -> int:
    """Count the words of a prompt or of all messages, whose content may come in parts."""
    texts = [body["prompt"]] if "prompt" in body else [message["content"] for message in body["messages"]]
    parts = (part for text in texts for part in ([{"text": text}] if isinstance(text, str) else text))
    return sum(len(part.get("text", "").split()) for part in parts)


def wanted_tokens(body: dict[str, Any]) -> int:
    """Return how many tokens a request asks for, in either dialect."""
    generation = json.loads(body.get("generation_config") or "{}")
    wanted = generation.get("max_new_tokens") or body.get("max_tokens") or body.get("max_completion_tokens")
    return int(wanted or DEFAULT_TOKENS)


def head(status: int, kind: str, length: str) -> bytes:
    """Make the header of an answer."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


async def until(moment: float) -> None:
    """Sleep until *moment* of the monotonic clock."""
    if (left := moment - time.monotonic()) > 0:
        await asyncio.sleep(left)


def last_words(text: str) -> None:
    """Leave a line in the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def serve(options: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, (lambda: None) if options.stubborn else stopped.set)
    await asyncio.sleep(options.start_delay)
    if options.hang_at_start:
        await stopped.wait()
        return
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate)
    engine = Engine(options)
    server = await loop.create_server(lambda: Connection(engine), options.host, options.port, backlog=4096, ssl=tls)
    last_words(f"listening on {options.host}:{server.sockets[0].getsockname()[1]}")
    await stopped.wait()


def main() -> int:
    """Run one fake engine; return its exit code."""
    options = arguments()
    if options.oom or options.exit_at_start is not None:
        last_words(options.say or (OUT_OF_MEMORY if options.oom else "exit as told"))
        return 1 if options.exit_at_start is None else int(options.exit_at_start)
    # select() waits in microseconds, epoll in whole milliseconds: tokens leave on time
    selector = selectors.DefaultSelector() if options.many else selectors.SelectSelector()
    loop = asyncio.SelectorEventLoop(selector)
    try:
        loop.run_until_complete(serve(options))
    except OSError as error:
        last_words(f"OSError: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
