"""A server of exactly known timing that is faster than its clients: the program behind `fast_server`.

One loop over epoll and a heap of what is due; every answer is a schedule of bytes that are framed
once. It waits in microseconds: `select` on the epoll's own descriptor has their precision, epoll
itself waits in whole milliseconds. The standard library is all it needs.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

READ_SIZE = 1 << 18
NOTES_SIZE = 64
SO_TIMESTAMPNS = 35
"""Of socket(7) on Linux; the `socket` module does not name it."""
DUE_AT_ONCE = 64
"""Answers that go on before new requests are looked for."""
LONGEST_WAIT = 0.5
DEFAULT_TOKENS = 16
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read how to behave."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="an IPv6 address works as well")
    add("--port", type=int, default=0)
    add("--unix", default="", help="path of a socket to listen on instead")
    add("--model", default="fake")
    add("--ttft", type=float, default=0.05, help="seconds from the request to the first token")
    add("--itl", type=float, default=0.01, help="seconds between tokens")
    add("--record", action="store_true", help="tell at /record what came, and what was sent when")
    return parser.parse_args(argv)


class Step(NamedTuple):
    """One write of an answer."""

    offset: float
    """Seconds after the request arrived."""
    data: bytes
    tokens: int


class Answer:
    """One answer on its way."""

    __slots__ = ("arrived", "body", "connection", "next", "sent", "steps")

    def __init__(self, connection: Connection, steps: tuple[Step, ...], body: bytes) -> None:
        self.connection, self.steps, self.body = connection, steps, body
        self.arrived = connection.arrived
        self.next = 0
        self.sent: list[tuple[float, int]] = []

    def send(self, now: float) -> float | None:
        """Send what is due at *now*; return when the next step is, None after the last."""
        steps, index = self.steps, self.next
        while index < len(steps) and self.arrived + steps[index].offset <= now:
            step = steps[index]
            self.sent.append((time.monotonic(), step.tokens))
            self.connection.write(step.data)
            index += 1
        self.next = index
        return self.arrived + steps[index].offset if index < len(steps) else None


class Connection:
    """One client; its requests are answered one after the other."""

    __slots__ = ("answer", "arrived", "inbox", "outbox", "server", "sock")

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self.inbox = self.outbox = b""
        self.arrived = 0.0
        self.answer: Answer | None = None

    def write(self, data: bytes) -> None:
        """Send *data*, now or as soon as the client reads."""
        if self.outbox:
            self.outbox += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.server.forget(self)
            return
        if sent < len(data):
            self.outbox = data[sent:]
            self.server.epoll.modify(self.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def flush(self) -> None:
        """Go on with what the client had no room for."""
        data, self.outbox = self.outbox, b""
        self.server.epoll.modify(self.sock.fileno(), select.EPOLLIN)
        self.write(data)

    def read(self) -> None:
        """Take what arrived, with its time."""
        try:
            data, notes, _, _ = self.sock.recvmsg(READ_SIZE, NOTES_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data, notes = b"", []
        if not data:
            self.server.forget(self)
            return
        self.arrived = arrival(notes)
        self.inbox = self.inbox + data if self.inbox else data
        self.server.fresh.append(self)

    def take(self) -> None:
        """Answer the request that is complete."""
        end = self.inbox.find(b"\r\n\r\n")
        if end < 0:
            return
        whole = end + 4 + content_length(self.inbox[:end])
        if len(self.inbox) >= whole:
            request, self.inbox = self.inbox[:whole], self.inbox[whole:]
            self.server.answer(self, request[:end], request[end + 4 :])


class Server:
    """The connections, and what is due on them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.listener = listen(options)
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[float, int, Answer]] = []
        self.order = itertools.count()
        self.fresh: list[Connection] = []
        self.ended: list[Answer] = []
        self.received = self.accepted = 0
        self.stopped = False

    def run(self) -> None:
        """Serve until told to stop."""
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        while not self.stopped:
            self.send_due()
            left = self.due[0][0] - time.monotonic() if self.due else LONGEST_WAIT
            if left > 0:
                select.select([self.epoll], [], [], min(left, LONGEST_WAIT))
            for number, events in self.epoll.poll(0):
                self.serve(number, events)
            fresh, self.fresh = self.fresh, []
            for connection in fresh:
                connection.take()

    def serve(self, number: int, events: int) -> None:
        """Do what one descriptor is ready for."""
        if number == self.listener.fileno():
            self.accept()
            return
        connection = self.connections.get(number)
        if connection and events & select.EPOLLOUT:
            connection.flush()
        if connection and events & ~select.EPOLLOUT:
            connection.read()

    def accept(self) -> None:
        """Take all clients that wait."""
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.connections[sock.fileno()] = Connection(self, sock)
            self.epoll.register(sock.fileno(), select.EPOLLIN)
            self.accepted += 1

    def forget(self, connection: Connection) -> None:
        """Close a connection; what was still to be sent on it is dropped."""
        number = connection.sock.fileno()
        if self.connections.pop(number, None):
            self.epoll.unregister(number)
            connection.sock.close()
            if connection.answer:
                connection.answer.next = len(connection.answer.steps)

    def answer(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Begin to answer one request."""
        method, path, _ = head.split(b" ", 2)
        if method != b"POST":
            connection.write(self.page(path))
            return
        steps = self.steps(path, body)
        if steps is None:
            connection.write(NOT_FOUND)
            return
        self.received += 1
        answer = connection.answer = Answer(connection, steps, body)
        self.schedule(answer, answer.send(answer.arrived))

    def steps(self, path: bytes, body: bytes) -> tuple[Step, ...] | None:
        """Return the schedule that answers a generation request, None for another path."""
        chat = path == b"/v1/chat/completions"
        if not chat and path != b"/v1/completions":
            return None
        asked: dict[str, Any] = json.loads(body)
        tokens = int(asked.get("max_tokens") or asked.get("max_completion_tokens") or DEFAULT_TOKENS)
        options = self.options
        make: Callable[..., tuple[Step, ...]] = stream if asked.get("stream") else whole
        return make(tokens, options.ttft, options.itl, options.model, chat=chat)

    def send_due(self) -> None:
        """Send what is due, and say when each of these answers goes on."""
        for _ in range(DUE_AT_ONCE):
            if not self.due or self.due[0][0] > (now := time.monotonic()):
                return
            answer = heapq.heappop(self.due)[2]
            self.schedule(answer, answer.send(now))

    def schedule(self, answer: Answer, moment: float | None) -> None:
        """Remember when *answer* goes on, or that it ended."""
        if moment is not None:
            heapq.heappush(self.due, (moment, next(self.order), answer))
        elif self.options.record:
            self.ended.append(answer)

    def page(self, path: bytes) -> bytes:
        """Return what is to be read at *path*."""
        if path == b"/v1/models":
            return document({"object": "list", "data": [{"id": self.options.model, "object": "model"}]})
        if path == b"/stats":
            return document({"requests": self.received, "connections": self.accepted})
        if path == b"/record":
            return document([row(number, answer) for number, answer in enumerate(self.ended, 1)])
        return document({"status": "ok"}) if path == b"/health" else NOT_FOUND


def listen(options: argparse.Namespace) -> socket.socket:
    """Return a socket that waits for clients."""
    if options.unix:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(options.unix)
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
    listener.listen(8192)
    listener.setblocking(False)
    return listener


def address(listener: socket.socket) -> str:
    """Return host and port as they stand in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def arrival(notes: list[tuple[int, int, bytes]]) -> float:
    """Return when the kernel took the bytes, so that what waited for this program is its own lateness."""
    now = time.monotonic()
    for _, kind, value in notes:
        if kind == SO_TIMESTAMPNS:
            seconds, parts = struct.unpack("qq", value)
            waited = float(time.time_ns() - seconds * 1_000_000_000 - parts) * 1e-9
            return now - max(waited, 0.0)
    return now


def content_length(head: bytes) -> int:
    """Return the length of the body behind *head*."""
    lower = head.lower()
    found = lower.find(b"content-length:")
    return 0 if found < 0 else int(lower[found + 15 :].split(b"\r\n", 1)[0])


@lru_cache(maxsize=256)
def stream(tokens: int, ttft: float, itl: float, model: str, *, chat: bool) -> tuple[Step, ...]:
    """Return the schedule of a stream of one token an event; steps of one moment are one write."""
    steps = [Step(0.0, STREAM_HEAD, 0)]
    if chat:
        steps.append(Step(0.0, frame({"role": "assistant", "content": ""}, model, chat=chat), 0))
    for index in range(tokens):
        finish = "length" if index == tokens - 1 else None
        content = {"content": " token"} if chat else " token"
        steps.append(Step(ttft + itl * index, frame(content, model, chat=chat, finish=finish), 1))
    usage = {"prompt_tokens": 1, "total_tokens": 1 + tokens, "completion_tokens": tokens}
    ending = chunk(event({**envelope(model, chat=chat), "choices": [], "usage": usage}))
    steps.append(Step(steps[-1].offset, ending + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", 0))
    return joined(steps)


@lru_cache(maxsize=256)
def whole(tokens: int, ttft: float, itl: float, model: str, *, chat: bool) -> tuple[Step, ...]:
    """Return the schedule of an answer in one piece, at the moment of its last token."""
    text = " token" * tokens
    choice = {"index": 0, "finish_reason": "length"} | ({"message": {"content": text}} if chat else {"text": text})
    usage = {"prompt_tokens": 1, "completion_tokens": tokens}
    return (Step(ttft + itl * (tokens - 1), document({"model": model, "choices": [choice], "usage": usage}), tokens),)


def joined(steps: list[Step]) -> tuple[Step, ...]:
    """Join the steps that share a moment."""
    groups = itertools.groupby(steps, key=lambda step: step.offset)
    return tuple(
        Step(offset, b"".join(step.data for step in found), sum(step.tokens for step in found))
        for offset, found in ((offset, list(group)) for offset, group in groups)
    )


def frame(content: object, model: str, *, chat: bool, finish: str | None = None) -> bytes:
    """Return one event with content as one HTTP chunk."""
    choice = {"index": 0, "delta" if chat else "text": content, "logprobs": None, "finish_reason": finish}
    return chunk(event({**envelope(model, chat=chat), "choices": [choice]}))


def envelope(model: str, *, chat: bool) -> dict[str, object]:
    """Return what every event carries."""
    kind = "chat.completion.chunk" if chat else "text_completion"
    return {"id": "cmpl-7f6c2d0e9b8a4f51", "object": kind, "created": 1735689600, "model": model}


def event(value: object) -> bytes:
    """Return one server-sent event, without spaces, as engines write them."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """Return *data* as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def document(value: object) -> bytes:
    """Return a whole answer of one JSON document."""
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def row(number: int, answer: Answer) -> dict[str, object]:
    """Return what is told of one answer."""
    return {"number": number, "arrived": answer.arrived, "sent": answer.sent, "body": json.loads(answer.body)}


def main() -> int:
    """Run one server; return its exit code."""
    options = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        server = Server(options)
    except OSError as error:
        sys.stderr.write(f"OSError: {error}\n")
        return 1

    def stop(_number: int, _frame: object) -> None:
        server.stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    where = options.unix or address(server.listener)
    sys.stderr.write(f"listening on {where}\n")
    sys.stderr.flush()
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
