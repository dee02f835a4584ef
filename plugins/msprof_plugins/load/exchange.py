"""One request and its answer as they were on the wire, before anybody reads the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["NAN", "Exchange"]

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
    times: list[float] = field(default_factory=list)
    """When each part of the body arrived."""
    parts: list[bytes] = field(default_factory=list)
    """The body as it arrived."""
    failure: str = ""
    """What broke on the wire: connect, stream or timeout; empty for a whole answer of any status."""
    detail: str = ""
    """The words of whoever reported the failure."""

    def fail(self, failure: str, detail: str, now: float) -> None:
        """Note that the wire broke."""
        self.failure, self.detail, self.ended = failure, detail, now

    @property
    def arrived_well(self) -> bool:
        """Whether a whole answer came with status 200; what it says is another question."""
        return not self.failure and self.status == SUCCESS
