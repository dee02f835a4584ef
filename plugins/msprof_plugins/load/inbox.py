"""Where what arrives is received, with the moment at which it arrived: the kernel's, where the kernel says."""

from __future__ import annotations

import math
import socket
import struct
import sys
import time
from contextlib import suppress

__all__ = ["Inbox"]

SIZE = 1 << 18
NOTES_SIZE = 64
SO_TIMESTAMPNS = 35
"""Of socket(7) on Linux; the `socket` module does not name it."""
unpack = struct.Struct("@ll").unpack
monotonic = time.monotonic
PARTS = 1_000_000_000
TRUSTED = 0.05
"""Seconds for which the distance between two clocks is believed: one may be slewed by 25 µs in this time."""
COMPARISONS = 3


class Inbox:
    """One buffer for all connections of an event loop: what is received lies there until the next is.

    A moment is that at which the kernel took the last byte from the network, so that a loop that is
    late makes no answer late, unless more came in between. Where nobody stamps (unix sockets, other
    systems), it is now.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(SIZE)
        self._view, self._buffers = memoryview(self._buffer), [self._buffer]
        self._distance, self._trusted_until = 0, 0.0

    @staticmethod
    def admit(sock: socket.socket) -> None:
        """Have the kernel stamp what arrives on *sock* from now on."""
        if sys.platform == "linux":
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def receive(self, sock: socket.socket) -> tuple[memoryview, float]:
        """Return what arrived, empty at the end, and when it did on the monotonic clock.

        Raises OSError where the connection is broken, BlockingIOError where nothing arrived.
        """
        size, notes, _, _ = sock.recvmsg_into(self._buffers, NOTES_SIZE)
        now = monotonic()
        if not notes:
            return self._view[:size], now
        if now > self._trusted_until:
            self._distance, self._trusted_until = _distance(), now + TRUSTED
        seconds, parts = unpack(notes[0][2])
        moment = (seconds * PARTS + parts + self._distance) / PARTS
        return self._view[:size], min(now, moment)


def _distance() -> int:
    """Return nanoseconds from the real-time clock to the monotonic one, by the comparison nobody interrupted."""
    best, found = math.inf, 0
    for _ in range(COMPARISONS):
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after - before < best:
            best, found = after - before, (before + after) // 2 - real
    return found
