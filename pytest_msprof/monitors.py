"""What a plugin implements to watch something beside a load: the service, its processes, the devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

__all__ = ["Monitor", "Watched"]


@dataclass(frozen=True, slots=True)
class Watched:
    """The service that is loaded."""

    base_url: str
    """Where requests go."""
    api_key: str | None = field(default=None, repr=False)
    pid: int | None = None
    """The engine's process, None for one that somebody else runs."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further headers of every request."""
    metrics_url: str = ""
    """Where it tells what it counts; empty is `/metrics` beside its requests."""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, so that what the machine does is its doing."""
        host = urlsplit(self.base_url).hostname or ""
        return self.pid is not None or host in ("", "localhost", "::1") or host.startswith("127.")


class Monitor(ABC):
    """Reads some quantities again and again while a load runs, in a thread of its own.

    A quantity `power` is the power of a device in W: from those of a run follows its `energy`.
    Readings should be short: they share the interpreter with the load generator.
    """

    period: ClassVar[float] = 1.0
    """Seconds between two readings."""
    counters: ClassVar[frozenset[str]] = frozenset()
    """Quantities that only rise: their series is the rate a second, their rise is told of the whole run."""

    @abstractmethod
    def start(self, watched: Watched) -> bool:
        """Make ready to watch; False where there is nothing to watch, which is no mistake."""

    @abstractmethod
    def read(self) -> Mapping[str, float]:
        """Return the quantities as they are now, SI units, by name."""

    def stop(self) -> None:  # noqa: B027 - most take nothing
        """Let go of what `start` took."""
