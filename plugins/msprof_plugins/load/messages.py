"""What a load and its worker processes say to each other: pickled objects with their length before them."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from msprof_plugins.load.share import Outcome
from pytest_msprof.interfaces import LoadJob, Progress
from pytest_msprof.samples import Samples

__all__ = ["Assignment", "Begin", "Block", "Done", "Ready", "Tick", "receive", "say"]

LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Assignment:
    """To a worker: its part of a load."""

    job: LoadJob
    index: int
    number: int
    patience: float


class Ready(NamedTuple):
    """From a worker: its connections are open."""


class Begin(NamedTuple):
    """To a worker: when the load begins, on the clock that all processes of a machine share."""

    moment: float


class Tick(NamedTuple):
    """From a worker: how far it has come."""

    progress: Progress


class Block(NamedTuple):
    """From a worker: requests that ended."""

    samples: Samples


class Done(NamedTuple):
    """From a worker: its last word."""

    outcome: Outcome


def say(stream: BinaryIO, message: object) -> None:
    """Send one message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Return the next message, None where the other side has ended."""
    head = _exactly(stream, LENGTH.size)
    data = _exactly(stream, LENGTH.unpack(head)[0]) if head else b""
    # both ends are this program: the pipe is not reachable for anybody else
    return pickle.loads(data) if data else None  # noqa: S301


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """Read *size* bytes, however many come at a time; nothing where they end before."""
    data = bytearray()
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            return b""
        data += more
    return bytes(data)
