"""The bytes of one connection: handed to the kernel at once, and heard of with the moment of their arrival."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Protocol, cast

from msprof_plugins.load.inbox import Inbox
from msprof_plugins.load.origin import Origin

__all__ = ["Ear", "Wire", "open_wire"]


class Ear(Protocol):
    """Who hears what happens on a wire."""

    def arrived(self, data: bytes | memoryview, moment: float) -> None:
        """Take *data*, which may be overwritten afterwards."""

    def lost(self, words: str) -> None:
        """Learn that the other side closed, or in *words* what broke."""


class Wire(Protocol):
    """An open connection."""

    def send(self, data: bytes) -> None:
        """Send *data*; what the kernel has no room for goes later."""

    def close(self) -> None:
        """Close at once; nothing is heard any more."""

    def fileno(self) -> int:
        """Return the descriptor, −1 once it is closed."""


async def open_wire(origin: Origin, inbox: Inbox, ear: Ear) -> Wire:
    """Connect to *origin*; raises OSError where that does not work."""
    if origin.tls:
        make = lambda: TransportWire(ear)  # noqa: E731 - what `create_connection` wants
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(make, origin.host, origin.port, ssl=origin.tls))[1]
    return SocketWire(await _connected(origin), inbox, ear)


class SocketWire:
    """A socket read without a transport of the event loop, which would not hand on the kernel's stamps."""

    def __init__(self, sock: socket.socket, inbox: Inbox, ear: Ear) -> None:
        self._socket, self._ear = sock, ear
        self._receive = inbox.receive
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, data: bytes) -> None:
        """Send *data* now, as far as there is room, and never before what waits already."""
        if self._rest:
            self._rest += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(str(error))
            return
        if sent < len(data):
            self._rest = data[sent:]
            self._loop.add_writer(self._socket.fileno(), self._go_on)

    def close(self) -> None:
        """Close at once; nothing is heard any more."""
        number = self._socket.fileno()
        if number >= 0:
            self._loop.remove_reader(number)
            self._loop.remove_writer(number)
            self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, −1 once it is closed."""
        return self._socket.fileno()

    def _go_on(self) -> None:
        """Send what there was no room for."""
        rest, self._rest = self._rest, b""
        self._loop.remove_writer(self._socket.fileno())
        self.send(rest)

    def _readable(self) -> None:
        try:
            data, moment = self._receive(self._socket)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(str(error))
            return
        if data:
            self._ear.arrived(data, moment)
        else:
            self._lose("")

    def _lose(self, words: str) -> None:
        self.close()
        self._ear.lost(words)


class TransportWire(asyncio.Protocol):
    """A transport of the event loop, which speaks TLS; what arrives has the moment at which it is read."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what arrived."""
        self._ear.arrived(data, time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that it is over."""
        self._ear.lost(str(exc or ""))

    def send(self, data: bytes) -> None:
        """Send *data*."""
        self._transport.write(data)

    def close(self) -> None:
        """Close at once; nothing is heard any more."""
        self._transport.abort()

    def fileno(self) -> int:
        """Return the descriptor, −1 once it is closed."""
        found = self._transport.get_extra_info("socket")
        return -1 if found is None or self._transport.is_closing() else int(found.fileno())


async def _connected(origin: Origin) -> socket.socket:
    """Return a connected socket; of several addresses the first that works."""
    if origin.unix:
        return await _reach(socket.AF_UNIX, 0, origin.unix)
    loop, failures = asyncio.get_running_loop(), []
    for family, _, protocol, _, address in await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM):
        try:
            return await _reach(family, protocol, address)
        except OSError as error:
            failures.append(error)
    raise failures[0]


async def _reach(family: int, protocol: int, address: tuple[object, ...] | str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Inbox.admit(sock)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
