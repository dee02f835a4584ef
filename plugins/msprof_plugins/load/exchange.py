"""One request and its answer as they were on the wire, before anybody reads the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["NAN", "SUCCESS", "Exchange"]

NAN = float("nan")
SUCCESS = 200


@dataclass(slots=True)
class Exchange:
    """What happened to one request; times of the monotonic clock, in seconds."""

    number: int
    """Position in the request stream."""
    due: float = NAN
    """When the schedule wanted it sent, NaN in a closed loop."""
    connect: float = 0.0
    """Time spent opening its connection."""
    start: float = NAN
    """First byte handed to an open connection; for one that never opened, when that was begun."""
    ended: float = NAN
    """Last byte of the answer, or the moment it failed."""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Those headers of the answer that explain it."""
    times: list[float] = field(default_factory=list)
    """When each segment of the body arrived."""
    marks: list[int] = field(default_factory=list)
    """How many parts there were after each segment."""
    parts: list[bytes] = field(default_factory=list)
    """The body, as HTTP framed it."""
    failure: str = ""
    """What broke on the wire: connect, stream or timeout; empty for a whole answer of any status."""
    detail: str = ""
    """The words of whoever reported the failure."""

    def fail(self, failure: str, detail: str, now: float) -> None:
        """Note that the wire broke."""
        self.failure, self.detail, self.ended = failure, detail, now

    def segments(self) -> Iterator[tuple[float, bytes]]:
        """Give what arrived of the body at each moment."""
        parts, low = self.parts, 0
        for moment, high in zip(self.times, self.marks, strict=True):
            if high > low:
                yield moment, parts[low] if high == low + 1 else b"".join(parts[low:high])
                low = high

    @property
    def arrived_well(self) -> bool:
        """Whether a whole answer came with status 200; what it says is another question."""
        return not self.failure and self.status == SUCCESS
